throw new Error("tests are no definitions");
