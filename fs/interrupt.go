package fs

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

const (
	// patience is how long a request goes on for a caller that got a signal
	// but is not being killed. Many a program is sent signals all the time
	// (the Go runtime's SIGURG, timers of profilers) and takes EINTR from a
	// file for an error; few reads last so long.
	patience = time.Second

	// killCheck is how often it is looked whether such a caller is being
	// killed by now. The kernel reports only the first signal.
	killCheck = 50 * time.Millisecond
)

// interrupt lets the caller of a request go: at once if it is being killed,
// else when its patience is at an end. It is false if there is no such request.
//
// A reader of a cold page waits in the kernel and can be killed without our
// help. One that waits for an answer of ours (O_DIRECT, a lookup, a listing)
// cannot: without this it would survive kill -9 for as long as the network
// hangs.
func (q *requests) interrupt(unique uint64) bool {
	r := q.get(unique)
	if r == nil {
		return false
	}
	r.release(time.Now().Add(patience))
	return true
}

func (r *request) release(at time.Time) {
	if r.ctx.Err() != nil {
		return // answered, or about to be
	}
	if left := time.Until(at); left > 0 && !beingKilled(r.tid) {
		time.AfterFunc(min(left, killCheck), func() { r.release(at) })
		return
	}
	r.interrupted.Store(true)
	r.cancel()
}

// beingKilled reports whether SIGKILL is pending for a thread. Any signal that
// ends a process and is neither handled nor dumps core has become a SIGKILL
// for each of its threads by then.
func beingKilled(tid uint32) bool {
	if tid == 0 {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		return os.IsNotExist(err)
	}
	const sigkill = 1 << (9 - 1)
	for _, field := range []string{"\nSigPnd:\t", "\nShdPnd:\t"} {
		if _, after, ok := bytes.Cut(b, []byte(field)); ok && len(after) >= 16 {
			if mask, err := strconv.ParseUint(string(after[:16]), 16, 64); err == nil && mask&sigkill != 0 {
				return true
			}
		}
	}
	return false
}
