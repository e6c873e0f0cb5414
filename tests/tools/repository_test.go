package tools

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// git runs git so that nothing of the user's or the system's plays a part.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	t.Setenv("GIT_CONFIG_SYSTEM", "/dev/null")
	t.Setenv("GIT_OPTIONAL_LOCKS", "0")
	who := []string{"-c", "safe.directory=*", "-c", "user.name=Floe", "-c", "user.email=floe@example.com", "-c", "gc.auto=0", "-c", "init.defaultBranch=main"}
	return output(t, dir, "git", append(who, args...)...)
}

// mustRepository makes a repository with packed and with loose objects.
func mustRepository(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, "notes"), 0o755))
	git(t, dir, "init", "--quiet")
	for i := range 20 {
		for j := range 10 {
			text := strings.Repeat(fmt.Sprintf("line of version %d\n", i*j), 50+j)
			must(t, os.WriteFile(filepath.Join(dir, "notes", fmt.Sprint(j)), []byte(text), 0o644))
		}
		git(t, dir, "add", ".")
		git(t, dir, "commit", "--quiet", "-m", fmt.Sprintf("version %d", i))
		if i == 14 {
			git(t, dir, "gc", "--quiet")
			git(t, dir, "tag", "packed")
		}
	}
}

func gitReads(t *testing.T, g *ground) {
	here, there := filepath.Join(g.source, "repository"), filepath.Join(g.mount, "repository")
	git(t, there, "fsck", "--full", "--strict")
	if out := git(t, there, "status", "--porcelain"); out != "" {
		t.Errorf("git status: %s", out)
	}
	git(t, there, "diff", "--exit-code", "HEAD")
	for _, args := range [][]string{
		{"log", "--stat"}, {"log", "-p", "packed..HEAD"}, {"ls-tree", "-r", "HEAD"}, {"grep", "-c", "version 57"}, {"blame", "notes/3"},
		{"cat-file", "--batch-all-objects", "--batch-check"},
	} {
		if got, want := git(t, there, args...), git(t, here, args...); got != want || want == "" {
			t.Errorf("git %s: %d bytes that differ from the %d expected", strings.Join(args, " "), len(got), len(want))
		}
	}
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, "/", "clone", "--quiet", there, clone)
	if got, want := git(t, clone, "rev-parse", "HEAD"), git(t, here, "rev-parse", "HEAD"); got != want {
		t.Errorf("the clone is at %s, the source at %s", got, want)
	}
	git(t, clone, "fsck", "--full", "--strict")
}

// mustDatabase makes an SQLite database with an index, some MiB large.
func mustDatabase(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	output(t, dir, "sqlite3", "rows.db", `
		PRAGMA journal_mode = DELETE;
		CREATE TABLE rows (id INTEGER PRIMARY KEY, word TEXT, value REAL);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
		INSERT INTO rows SELECT i, hex(i * 2654435761 % 4294967296) || 'word' || i, i / 7.0 FROM n;
		CREATE INDEX words ON rows (word);`)
}

func sqliteReads(t *testing.T, g *ground) {
	const queries = `
		SELECT count(*), sum(value), max(word) FROM rows;
		SELECT id, word FROM rows WHERE word > 'A' ORDER BY word LIMIT 20;
		SELECT a.id FROM rows a JOIN rows b ON b.id = a.id * 3 WHERE a.word > b.word ORDER BY a.id LIMIT 50;
		PRAGMA integrity_check;`
	want := output(t, g.source, "sqlite3", "database/rows.db", queries)
	path := filepath.Join(g.mount, "database/rows.db")
	for how, args := range map[string][]string{
		"plainly": {path}, "read-only": {"-readonly", path}, "immutable": {"file:" + path + "?immutable=1"}, "by mode": {"file:" + path + "?mode=ro"},
	} {
		if got := output(t, "/", "sqlite3", append(args, queries)...); got != want || !strings.HasSuffix(got, "ok\n") {
			t.Errorf("opened %s: got %.300q, want %.300q", how, got, want)
		}
	}
	if _, err := try(t, "/", "sqlite3", path, "INSERT INTO rows (word) VALUES ('x')"); err == nil || !strings.Contains(err.Error(), "readonly database") {
		t.Errorf("an insert: %v", err)
	}
}
