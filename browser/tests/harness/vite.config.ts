import { longValues } from "../../src/core/read/dicom/longValues";
import page from "../../vite.config";

// As the page is built, with the core alone in it.
export default { ...page, plugins: [longValues()], root: import.meta.dirname, publicDir: false };
