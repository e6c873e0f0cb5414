package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

var helpCommand = command{
	name:     "help",
	group:    "about",
	brief:    "explain a command",
	complete: "command",
	help: `Usage: floe help [COMMAND]

Explains a command, or lists them all.
`,
	new: func(f *flags) action {
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) == 0 {
				writeOverview(e.stdout)
				return nil
			}
			for _, name := range args {
				c, ok := commandNamed(name)
				if !ok {
					return unknownCommand(name)
				}
				writeHelp(e.stdout, c)
			}
			return nil
		}
	},
}

const overview = `Floe mounts verifiable datasets: every byte is proven against the dataset's id.

  floe put --name flowers ./flowers     pack a directory; prints the dataset's id
  floe mount flowers /mnt/flowers       read it as a directory, proven as you read
  floe cp flowers/train ./train         or copy some of it, without a mount
  floe umount /mnt/flowers

A dataset is given by its id, or by a name that put --name gave it.
`

const overviewEnd = `
floe help COMMAND explains a command. Every flag can be set by a variable, as
--cache-size 50G by FLOE_CACHE_SIZE=50G, or by a line in the configuration file
~/.config/floe/config.toml, as cache-size = "50G".

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 damaged or forged,
5 unavailable for now, 6 denied, 7 too few slivers left, 8 busy, 130 interrupted.
`

// writeOverview lists the commands.
func writeOverview(w io.Writer) {
	fmt.Fprint(w, overview)
	groups := []struct{ name, title string }{
		{"use", "Put and mount"}, {"read", "Read without a mount"}, {"trust", "Check and heal"}, {"serve", "Serve to others"},
		{"keep", "Keep house"}, {"about", "More"},
	}
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, c := range commands {
			if c.group == g.name {
				fmt.Fprintf(w, "  %-12s %s\n", c.name, c.brief)
			}
		}
	}
	fmt.Fprint(w, overviewEnd)
}

// writeHelp explains a command.
func writeHelp(w io.Writer, c command) {
	f := newFlags(c)
	c.new(f)
	fmt.Fprintf(w, "%s\n", strings.TrimRight(c.help, "\n"))
	if text := f.describe(); text != "" {
		fmt.Fprintf(w, "\nFlags:\n%s", text)
	}
}
