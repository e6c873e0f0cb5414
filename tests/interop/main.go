// Command interop drives storage nodes of floe with the official Walrus SDK,
// which npm installs: every endpoint the SDK knows, its own write and read
// paths, quilts, and what nodes must refuse. See walrus-sdk/README.md.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: interop FLOE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

// A trial is one committee.
type trial struct {
	shards, nodes int
	// strict makes warnings fail. There is one that is the SDK's fault; see
	// chance.
	strict bool
}

var trials = []trial{{13, 3, true}, {10, 1, false}, {100, 3, false}}

func run(ctx context.Context, floe string) error {
	floe, err := filepath.Abs(floe)
	if err != nil {
		return err
	}
	sdk, err := install(ctx, filepath.Join(filepath.Dir(floe), "interop"))
	if err != nil {
		return err
	}
	for _, t := range trials {
		if err := t.run(ctx, floe, sdk); err != nil {
			return fmt.Errorf("%d nodes, %d shards: %w", t.nodes, t.shards, err)
		}
	}
	return nil
}

// install puts the SDK and what drives it into a directory below dir, which
// git ignores, and returns that.
func install(ctx context.Context, dir string) (string, error) {
	sdk := filepath.Join(dir, "walrus-sdk")
	files, err := filepath.Glob("tests/interop/walrus-sdk/*")
	if err != nil || len(files) == 0 {
		return "", errors.New("start it in the top directory of the repository, as make interop does")
	}
	if err := os.MkdirAll(sdk, 0o755); err != nil {
		return "", err
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(sdk, filepath.Base(f)), data, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir, cmd.Stderr = sdk, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("npm ci: %w", err)
	}
	return sdk, nil
}

func (t trial) run(ctx context.Context, floe, sdk string) (err error) {
	tmp, err := os.MkdirTemp("", "floe-interop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fmt.Printf("\n== %d nodes, %d shards\n", t.nodes, t.shards)
	var urls []string
	for i := range t.nodes {
		url, stop, err := t.start(ctx, floe, filepath.Join(tmp, fmt.Sprint(i)), i)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		urls = append(urls, url)
	}
	for range 3 {
		var said string
		if said, err = t.check(ctx, sdk, urls); err == nil || !chance(said) {
			break
		}
	}
	return err
}

// check runs the SDK's driver once, and returns what it says.
func (t trial) check(ctx context.Context, sdk string, urls []string) (string, error) {
	var said strings.Builder
	check := exec.CommandContext(ctx, "node", "check.mjs")
	check.Dir, check.Stdout, check.Stderr = sdk, io.MultiWriter(os.Stdout, &said), os.Stderr
	check.Env = append(os.Environ(),
		"WALRUS_NODE_URL="+strings.Join(urls, ","), fmt.Sprint("N_SHARDS=", t.shards),
		"OBJECT_ID=0x"+strings.Repeat("2a", 32))
	if t.strict {
		check.Env = append(check.Env, "STRICT=1")
	}
	return said.String(), check.Run()
}

// chance reports whether all that failed is what the SDK leaves to chance: it
// takes the status of a blob from a quorum of answers only when one more
// comes. One node can never give that, and of three it must not be the one
// with the most shards that answers last.
func chance(said string) bool {
	failed := 0
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "FAIL ") {
			failed++
			if !strings.Contains(line, "getVerifiedBlobStatus Error: Not enough statuses") {
				return false
			}
		}
	}
	return failed > 0
}

// start starts node i and returns its URL and what stops it.
func (t trial) start(ctx context.Context, floe, dir string, i int) (url string, stop func() error, err error) {
	key := dir + ".key"
	if out, err := exec.CommandContext(ctx, floe, "keygen", key).CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("keygen: %w: %s", err, out)
	}
	var shards []string
	for s := range t.shards {
		if s*t.nodes/t.shards == i { // as the SDK's driver deals them out
			shards = append(shards, fmt.Sprint(s))
		}
	}
	cmd := exec.Command(floe, "node", "--listen", "127.0.0.1:0", "--store", "dir:"+dir, "--key", key,
		"--n-shards", fmt.Sprint(t.shards), "--shards", strings.Join(shards, ","), "--epoch", "9")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, err
	}
	stop = func() error {
		cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() == 130 { // told to end
				return nil
			}
			return fmt.Errorf("node %d: %w", i, err)
		}
		return nil
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if quoted, ok := strings.CutPrefix(lines.Text(), "url = "); ok {
			return strings.Trim(quoted, `"`), stop, nil
		}
	}
	return "", nil, errors.Join(fmt.Errorf("node %d does not say where it listens", i), stop())
}
