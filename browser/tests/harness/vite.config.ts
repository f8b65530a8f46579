import page from "../../vite.config";

// As the page is built, with the core alone in it.
export default { ...page, plugins: [], root: import.meta.dirname, publicDir: false };
