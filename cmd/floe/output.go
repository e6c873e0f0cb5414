package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether a person looks at what is written to w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// printable replaces what could do something to a terminal, or pretend to be
// other text: control characters, bytes that are not UTF-8, and characters
// that no one can see.
func printable(s string) string { return escape(s, false) }

// escaped is printable and can be undone: a backslash is doubled.
func escaped(s string) string { return escape(s, true) }

func escape(s string, backslash bool) string {
	if plain(s, backslash) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\' && backslash:
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x80 && unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func plain(s string, backslash bool) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '\\' && backslash {
			return false
		}
	}
	return true
}

// A printer writes a command's answer: text, in which a terminal gets names
// escaped and a pipe gets them as they are, or JSON, one object a line.
type printer struct {
	*bufio.Writer
	terminal bool
	json     bool
}

func (e *env) printer(json bool) *printer {
	return &printer{bufio.NewWriterSize(e.stdout, 64<<10), isTerminal(e.stdout), json}
}

// name returns s as it is shown.
func (p *printer) name(s string) string {
	if p.terminal {
		return escaped(s)
	}
	return s
}

// object writes a JSON object on a line of its own.
func (p *printer) object(v any) error {
	enc := json.NewEncoder(p)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// row writes a line of a table of two columns.
func (p *printer) row(name, format string, a ...any) {
	fmt.Fprintf(p, "%-12s "+format+"\n", append([]any{name}, a...)...)
}

// jsonFlag declares --json.
func jsonFlag(f *flags, json *bool) {
	f.BoolVar(json, "json", false, "write one JSON object per line; names that are not UTF-8 are\ngiven as name_b64, in base64")
}

// A jsonName is a name in JSON. Embed it by its two fields: exactly one is
// set, name_b64 for a name that is not UTF-8, which JSON cannot hold.
func jsonName(s string) (name *string, b64 []byte) {
	if utf8.ValidString(s) {
		return &s, nil
	}
	return nil, []byte(s)
}
