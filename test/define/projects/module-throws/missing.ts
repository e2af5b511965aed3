// @ts-nocheck
import "no-such-package";
