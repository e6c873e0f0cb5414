package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/floefs/floe/fs"
)

var completionCommand = command{
	name:  "completion",
	group: "about",
	brief: "print completions for bash, zsh or fish",
	help: `Usage: floe completion bash|zsh|fish

  source <(floe completion bash)                          in ~/.bashrc
  source <(floe completion zsh)                           in ~/.zshrc
  floe completion fish > ~/.config/fish/completions/floe.fish

Completes commands, flags, names of datasets, directories in them, and mounts.
`,
	new: func(f *flags) action {
		return func(ctx context.Context, e *env, args []string) error {
			scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
			if len(args) != 1 || scripts[args[0]] == "" {
				return usagef("floe completion needs the name of a shell: bash, zsh or fish")
			}
			_, err := fmt.Fprint(e.stdout, scripts[args[0]])
			return err
		}
	},
}

// The scripts ask floe __complete, which gets the words of the line up to the
// one to complete. It prints a candidate a line; the line ":files" means that
// the shell should offer files too.

const bashCompletion = `_floe() {
	local IFS=$'\n' line cur=${COMP_WORDS[COMP_CWORD]}
	COMPREPLY=()
	for line in $(floe __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
		if [ "$line" = ":files" ]; then
			compopt -o filenames 2>/dev/null
			COMPREPLY+=($(compgen -f -- "$cur"))
		else
			COMPREPLY+=("$line")
		fi
	done
	case ${COMPREPLY[0]} in */|*=) compopt -o nospace 2>/dev/null ;; esac
}
complete -F _floe floe
`

const zshCompletion = `#compdef floe
_floe() {
	local line
	for line in ${(f)"$(floe __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
		case $line in
		:files) _files ;;
		*/) compadd -S '' -- "$line" ;;
		*) compadd -- "$line" ;;
		esac
	done
}
compdef _floe floe
`

const fishCompletion = `function __floe_complete
	set -l words (commandline -opc) (commandline -ct)
	for line in (floe __complete $words[2..-1] 2>/dev/null)
		if test "$line" = ":files"
			__fish_complete_path (commandline -ct)
		else
			echo $line
		end
	end
end
complete -c floe -f -a '(__floe_complete)'
`

// completeCommand answers the scripts. Its arguments are not flags of its own.
var completeCommand = command{
	name: "__complete",
	new: func(f *flags) action {
		return func(ctx context.Context, e *env, args []string) error {
			for _, c := range e.candidates(ctx, args) {
				fmt.Fprintln(e.stdout, c)
			}
			return nil
		}
	},
}

// candidates returns what the last of words could become.
func (e *env) candidates(ctx context.Context, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	if len(words) == 1 {
		return beginning(last, commandNames())
	}
	c, ok := commandNamed(words[0])
	if !ok {
		return nil
	}
	f := newFlags(c)
	c.new(f)
	if strings.HasPrefix(last, "-") && !isID(last) {
		return beginning(last, flagNames(f))
	}
	if takesValue(f, words[len(words)-2]) {
		return []string{":files"}
	}
	first := 0
	for _, w := range words[1 : len(words)-1] {
		if !strings.HasPrefix(w, "-") {
			first++
		}
	}
	switch {
	case c.name == completionCommand.name:
		return beginning(last, []string{"bash", "zsh", "fish"})
	case c.name == cacheCommand.name:
		return beginning(last, []string{"ls", "check", "gc"})
	case c.complete == "command":
		return beginning(last, commandNames())
	case c.complete == "mount":
		return beginning(last, mountDirs())
	case c.name == mountCommand.name && first > 0:
		return []string{":files"}
	case c.complete == "dataset":
		all := e.datasetCandidates(ctx, last)
		if c.name == cpCommand.name && first > 0 {
			all = append(all, ":files")
		}
		return all
	case c.complete == "file":
		return []string{":files"}
	}
	return nil
}

// datasetCandidates completes names, and after a slash what is in a dataset.
func (e *env) datasetCandidates(ctx context.Context, word string) []string {
	head, path, inside := strings.Cut(word, "/")
	if !inside {
		var names []string
		all, _ := e.names()
		for _, n := range all {
			names = append(names, n.Name)
		}
		return beginning(word, names)
	}
	dir, part := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, part = path[:i], path[i+1:]
	}
	src := &sources{cacheMode: "auto"}
	o, err := src.at(ctx, e, head+"/"+dir)
	if err != nil {
		return nil
	}
	defer o.rd.Close()
	var found []string
	for entry, err := range o.List(ctx, o.entry, 0) {
		if err != nil || len(found) == 1000 {
			break
		}
		// A name that a shell or terminal would stumble over is not offered.
		if strings.HasPrefix(entry.Name, part) && printable(entry.Name) == entry.Name {
			name := head + "/" + join(dir, entry.Name)
			if typeName(entry.Type) == "directory" {
				name += "/"
			}
			found = append(found, name)
		}
	}
	return found
}

func beginning(prefix string, words []string) []string {
	var fit []string
	for _, w := range words {
		if strings.HasPrefix(w, prefix) {
			fit = append(fit, w)
		}
	}
	return fit
}

func commandNames() []string {
	var names []string
	for _, c := range commands {
		if c.group != "" {
			names = append(names, c.name)
		}
	}
	return names
}

func flagNames(f *flags) []string {
	var names []string
	f.VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			names = append(names, "--"+flag.Name)
		}
	})
	return names
}

// takesValue reports whether word is a flag whose value comes next.
func takesValue(f *flags, word string) bool {
	name, ok := strings.CutPrefix(word, "--")
	flag := f.Lookup(name)
	if !ok && len(word) == 2 && word[0] == '-' {
		flag = f.ShorthandLookup(word[1:])
	}
	return flag != nil && flag.NoOptDefVal == ""
}

func mountDirs() []string {
	var dirs []string
	mounts, _ := fs.Mounts()
	for _, m := range mounts {
		dirs = append(dirs, m.Dir)
	}
	return dirs
}
