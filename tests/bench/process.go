package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a program that serves while others read.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // the file it writes to
	ended chan struct{} // closed when it has
}

// start starts a program that writes to a log. It dies with this process.
func start(log string, env []string, args ...string) (*process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the program has its own
	p := &process{name: filepath.Base(args[0]), cmd: exec.Command(args[0], args[1:]...), log: log, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.cmd.Wait(); close(p.ended) }()
	return p, nil
}

// until waits for something the process should do.
func (p *process) until(ctx context.Context, what string, done func() bool) error {
	for range 6000 {
		if done() {
			return nil
		}
		select {
		case <-p.ended:
			return p.failed("it has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return p.failed("after a minute it does not " + what)
}

func (p *process) failed(why string) error {
	said, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s: %s: %s", p.name, why, bytes.TrimSpace(said[max(0, len(said)-600):]))
}

// stop tells the process to end, and waits until it has.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// wait waits until the process has ended, and kills it after twenty seconds.
func (p *process) wait() error {
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
	}
	p.cmd.Process.Kill()
	<-p.ended
	return p.failed("it had to be killed")
}

// run runs a program to its end and returns what it wrote.
func run(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	var e *exec.ExitError
	if errors.As(err, &e) {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args[:min(2, len(args))], " "), err, bytes.TrimSpace(e.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

// cpuOf returns the seconds that processes, and those of their children that
// are gone, have computed.
func cpuOf(all ...*process) (seconds float64) {
	for _, p := range all {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.ParseFloat(f, 64)
			seconds += n / 100
		}
	}
	return seconds
}

// machineCPU returns the seconds that all processors have worked.
func machineCPU() (seconds float64) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	for i, f := range strings.Fields(line)[1:8] {
		if i == 3 || i == 4 { // idle, or waiting for a disk
			continue
		}
		n, _ := strconv.ParseFloat(f, 64)
		seconds += n / 100
	}
	return seconds
}

// resetMemory makes memoryOf begin anew.
func resetMemory(p *process) {
	os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// memoryOf returns the most bytes a process has had in memory.
func memoryOf(p *process) int64 { return field(p, "status", "VmHWM:") << 10 }

// wroteOf returns how many bytes processes have written, to whatever it was.
func wroteOf(all ...*process) (n int64) {
	for _, p := range all {
		n += field(p, "io", "wchar:")
	}
	return n
}

func field(p *process, file, name string) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
