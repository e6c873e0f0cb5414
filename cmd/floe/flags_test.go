package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/floefs/floe/engine/walrus"
)

// dashed is a valid id that begins with a dash.
func dashed(t *testing.T) string {
	for i := range 256 {
		if id := (walrus.BlobID{byte(i)}); id.String()[0] == '-' {
			return id.String()
		}
	}
	t.Fatal("no id begins with a dash")
	return ""
}

func TestIDsThatBeginWithADashAreNotFlags(t *testing.T) {
	id := dashed(t)
	for _, args := range [][]string{{id}, {"-l", id}, {id, "-l"}, {"-l", id + "/a/b"}, {"--", id}} {
		f := newFlags(lsCommand)
		lsCommand.new(f)
		rest, err := f.parse(testEnv(t), args)
		if err != nil {
			t.Errorf("%q: %v", args, err)
			continue
		}
		if len(rest) != 1 || !strings.HasPrefix(rest[0], id) {
			t.Errorf("%q: arguments %q", args, rest)
		}
	}
	f := newFlags(putCommand)
	putCommand.new(f)
	if _, err := f.parse(testEnv(t), []string{"--base", id, "dir"}); err != nil {
		t.Fatal(err)
	}
	if got := f.Lookup("base").Value.String(); got != id {
		t.Errorf("--base %s: got %s", id, got)
	}
}

func TestDatasetsWhoseIDsBeginWithADashAreUsable(t *testing.T) {
	e := testEnv(t)
	tree := filepath.Join(e.dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		text := fmt.Sprint(i)
		if err := os.WriteFile(filepath.Join(tree, "f"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		code, id, msg := runFloe(t, e, "put", "-q", "--n-shards", "4", "tree")
		if code != 0 {
			t.Fatal(msg)
		}
		id = strings.TrimSpace(id)
		if id[0] != '-' {
			continue
		}
		if code, out, msg := runFloe(t, e, "cat", id+"/f"); code != 0 || out != text {
			t.Errorf("cat %s/f: exit code %d, %q, %s", id, code, out, msg)
		}
		if code, _, msg := runFloe(t, e, "put", "--n-shards", "4", "--base", id, "--name", "again", "tree"); code != 0 {
			t.Errorf("put --base %s: exit code %d, %s", id, code, msg)
		}
		if code, _, msg := runFloe(t, e, "rm", id); code != 0 {
			t.Errorf("rm %s: exit code %d, %s", id, code, msg)
		}
		return
	}
	t.Error("of 2000 ids none began with a dash")
}

func TestCommandLineComesBeforeVariableBeforeFile(t *testing.T) {
	e := testEnv(t)
	dir := filepath.Join(e.dir, ".config/floe")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := "store = \"dir:/file\"\ncache-dir = \"/file\"\ncache-size = \"1G\"\nallow-other = true\n"
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"HOME": e.dir, "FLOE_CACHE_DIR": "/variable", "FLOE_CACHE_SIZE": "2G"}
	e.lookup = func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	f := newFlags(mountCommand)
	m := newMounter(f)
	if _, err := f.parse(e, []string{"--cache-size=3G", "x", "y"}); err != nil {
		t.Fatal(err)
	}
	if m.cacheSize != 3<<30 || m.cacheDir != "/variable" || !slices.Equal(m.from, []string{"dir:/file"}) || !m.allowOther {
		t.Errorf("cache-size %d, cache-dir %s, from %s, allow-other %v", m.cacheSize, m.cacheDir, m.from, m.allowOther)
	}
}

func TestConfigurationWithMistakesIsRefused(t *testing.T) {
	for config, want := range map[string]string{
		"cache-sise = 5":        "did you mean cache-size?",
		"cache-size = \"lots\"": "cache-size",
		"store = ":              "config.toml",
		"name = \"x\"":          "no setting", // it means something else in each command
	} {
		e := testEnv(t)
		dir := filepath.Join(e.dir, ".config/floe")
		os.MkdirAll(dir, 0o755)
		os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o644)
		code, _, msg := runFloe(t, e, "ls", "x")
		if code != exitUsage || !strings.Contains(msg, want) {
			t.Errorf("%s: exit code %d, %s", config, code, msg)
		}
	}
}

func TestVariablesWithMistakesAreNamed(t *testing.T) {
	e := testEnv(t)
	vars := map[string]string{"FLOE_MEMORY": "lots"}
	e.lookup = func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	if code, _, msg := runFloe(t, e, "ls", "x"); code != exitUsage || !strings.Contains(msg, "FLOE_MEMORY") {
		t.Errorf("exit code %d, %s", code, msg)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range commands {
		if c.name == completeCommand.name {
			continue
		}
		e := testEnv(t)
		code, out, _ := runFloe(t, e, c.name, "--help")
		if code != 0 || !strings.HasPrefix(out, "Usage: ") || !strings.Contains(out, c.name) {
			t.Errorf("floe %s --help: exit code %d, %q", c.name, code, out)
		}
		if c.group != "" && c.brief == "" {
			t.Errorf("%s is not in the list of commands", c.name)
		}
		for line := range strings.SplitSeq(out, "\n") {
			if len(line) > 120 {
				t.Errorf("floe %s --help: a line of %d characters: %s", c.name, len(line), line)
			}
		}
	}
}

func TestCompletionOffersCommandsFlagsAndNames(t *testing.T) {
	e := testEnv(t)
	if err := e.setName(named{Name: "flowers"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"um"}, "umount"},
		{[]string{"ls", "--rec"}, "--recursive"},
		{[]string{"ls", "fl"}, "flowers"},
		{[]string{"cp", "flowers", ""}, ":files"},
		{[]string{"put", ""}, ":files"},
		{[]string{"completion", "z"}, "zsh"},
		{[]string{"ls", "--cache-dir", ""}, ":files"},
	} {
		if got := e.candidates(t.Context(), c.words); !slices.Contains(got, c.want) {
			t.Errorf("%q: %q, want %s", c.words, got, c.want)
		}
	}
}
