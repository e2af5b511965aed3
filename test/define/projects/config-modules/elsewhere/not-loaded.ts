throw new Error("not among the modules");
