// Floe publishes directories as verifiable datasets and reads them anywhere,
// every byte proven: `floe help` tells how.
//
// This package is the only one that knows flags, the environment and the
// terminal. There is one file per subcommand, its help text on top; what they
// share lies in files named after what that is.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}
