package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

var versionCommand = command{
	name:  "version",
	group: "about",
	brief: "show the version of floe",
	help: `Usage: floe version [--json]

Shows version, revision and what floe was built with.
`,
	new: func(f *flags) action {
		json := false
		jsonFlag(f, &json)
		return func(ctx context.Context, e *env, args []string) error {
			v := buildVersion()
			p := e.printer(json)
			if json {
				if err := p.object(v); err != nil {
					return err
				}
				return p.Flush()
			}
			fmt.Fprintf(p, "floe %s", v.Version)
			if v.Revision != "" {
				fmt.Fprintf(p, " (%.12s", v.Revision)
				if v.Modified {
					fmt.Fprint(p, ", modified")
				}
				fmt.Fprintf(p, ", %s)", v.Time)
			}
			fmt.Fprintf(p, " %s %s\n", v.Go, v.Platform)
			return p.Flush()
		}
	},
}

type versionJSON struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() versionJSON {
	v := versionJSON{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
