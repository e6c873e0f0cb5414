//go:build !purego

package merkle

import "golang.org/x/sys/cpu"

// haveLanes says that compress8 can be called.
var haveLanes = cpu.X86.HasAVX512F

// compress8 takes blocks times 128 bytes of each message, at least one block,
// into eight Blake2b states. h[i][l] is word i of the state of message l.
// counter is the number of bytes of a message up to the end of the first
// block; last is all ones if the (only) block ends the messages, else zero.
//
//go:noescape
func compress8(h *[8][lanes]uint64, messages *[lanes]*byte, blocks int, counter, last uint64)
