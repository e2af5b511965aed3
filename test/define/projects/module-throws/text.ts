throw "a text, not an error";
