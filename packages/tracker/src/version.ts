/** Name and version of this package; a test holds it to package.json. */
export const LIBRARY = "@millrace/tracker/0.1.0";
