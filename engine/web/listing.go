package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/floefs/floe/engine"
	"github.com/floefs/floe/engine/catalog"
)

// Entries of a directory in one answer.
const (
	usualEntries = 1000
	mostEntries  = 10000
)

// A listing is a directory, or a part of it, as JSON.
type listing struct {
	Dataset string  `json:"dataset"`
	Path    string  `json:"path"`
	Entries []entry `json:"entries"`
	Next    uint64  `json:"next,omitempty"` // ?from= of the entries that follow; 0: there are none
}

type entry struct {
	Name     string `json:"name"` // what is not UTF-8 in it is replaced; href has it as it is
	Type     string `json:"type"` // file, dir or symlink
	Size     int64  `json:"size"` // of files
	Mode     string `json:"mode"` // octal
	Modified string `json:"modified"`
	Target   string `json:"target,omitempty"` // of symlinks
	Href     string `json:"href"`             // relative to the directory
}

// list answers with directory dir, which is at name.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, ds *engine.Dataset, dir catalog.Entry, name string) error {
	page := strings.Contains(r.Header.Get("Accept"), "text/html")
	w.Header().Set("Vary", "Accept")
	if page && !strings.HasSuffix(r.URL.Path, "/") { // or links in it would not hold
		to := url.URL{Path: r.URL.Path + "/", RawPath: r.URL.EscapedPath() + "/", RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, to.String(), http.StatusFound)
		return nil
	}
	from, err := number(r, "from", 0, 1<<62)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", usualEntries, mostEntries)
	if err != nil {
		return err
	}
	l, err := listed(r.Context(), ds, dir, from, int(max(1, limit)))
	if err != nil {
		return err
	}
	l.Path = name
	var data []byte
	kind := "json"
	if page {
		kind, data = "html", l.page()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	} else {
		if data, err = json.Marshal(l); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
	}
	cacheable(w, fmt.Sprintf("%s-%s-%d-%d", dir.Root, kind, from, limit))
	return serveBytes(w, r, data)
}

func number(r *http.Request, name string, otherwise, most uint64) (uint64, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n > most {
		return 0, badRequest("%s: %q is no number up to %d", name, v, most)
	}
	return n, nil
}

// listed returns at most limit entries of a directory, from number from on.
func listed(ctx context.Context, ds *engine.Dataset, dir catalog.Entry, from uint64, limit int) (*listing, error) {
	l := &listing{Dataset: ds.ID().String(), Entries: []entry{}}
	for e, err := range ds.List(ctx, dir, from) {
		if err != nil {
			return nil, err
		}
		if len(l.Entries) == limit {
			l.Next = e.Number - dir.Number
			break
		}
		x := entry{
			Name: strings.ToValidUTF8(e.Name, "\uFFFD"), Type: "file", Size: e.Size,
			Mode: fmt.Sprintf("%04o", e.Mode), Modified: time.Unix(e.Sec, int64(e.Nsec)).UTC().Format(time.RFC3339Nano),
			Href: "./" + url.PathEscape(e.Name),
		}
		switch e.Type {
		case catalog.Dir:
			x.Type, x.Size, x.Href = "dir", 0, x.Href+"/"
		case catalog.Symlink:
			x.Type, x.Size, x.Target = "symlink", 0, strings.ToValidUTF8(e.Target, "\uFFFD")
		}
		l.Entries = append(l.Entries, x)
	}
	return l, nil
}

// page returns l as HTML. Names are a stranger's: all are escaped.
func (l *listing) page() []byte {
	var b bytes.Buffer
	title := html.EscapeString("/" + l.Path)
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>%s</title>\n", title)
	b.WriteString("<style>body{font:14px monospace}td{padding:0 1em 0 0}</style>\n")
	fmt.Fprintf(&b, "<h1>%s</h1>\n<p>dataset %s</p>\n<table>\n", title, html.EscapeString(l.Dataset))
	if l.Path != "" {
		b.WriteString("<tr><td><a href=\"../\">..</a></td></tr>\n")
	}
	for _, x := range l.Entries {
		name, size := x.Name, strconv.FormatInt(x.Size, 10)
		switch x.Type {
		case "dir":
			name, size = name+"/", ""
		case "symlink":
			name, size = name+" -> "+x.Target, ""
		}
		fmt.Fprintf(&b, "<tr><td><a href=\"%s\">%s</a></td><td align=\"right\">%s</td><td>%s</td></tr>\n",
			html.EscapeString(x.Href), html.EscapeString(name), size, x.Modified)
	}
	b.WriteString("</table>\n")
	if l.Next > 0 {
		fmt.Fprintf(&b, "<p><a href=\"?from=%d\">more</a></p>\n", l.Next)
	}
	return b.Bytes()
}
