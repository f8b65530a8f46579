/** Packages that come without types; how they are used is typed where they are. */

declare module "@cornerstonejs/codec-charls/decodewasmjs";
declare module "@cornerstonejs/codec-openjpeg/decodewasmjs";
