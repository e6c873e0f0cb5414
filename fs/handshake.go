package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// handshake answers INIT, the kernel's first message, or learns from init, an
// INIT that another process has answered, what was agreed on.
func (l *loop) handshake(ctx context.Context, init []byte) error {
	replay := init != nil
	if !replay {
		buf := make([]byte, bufferSize)
		n, err := readFirst(ctx, l.fd, buf)
		if err != nil {
			return fmt.Errorf("waiting for the kernel's first request: %w", err)
		}
		init = buf[:n:n]
	}
	if len(init) < inHeaderSize+16 || opcode(binary.NativeEndian.Uint32(init[4:])) != opInit {
		return errors.New("the kernel's first request is not INIT")
	}
	l.init = init
	reply, err := l.answerInit(init)
	if err != nil {
		return err
	}
	if !replay {
		l.received[opInit].Add(1)
		if _, err := unix.Write(l.fd, reply); err != nil {
			return fmt.Errorf("answering the kernel's first request: %w", err)
		}
		return nil
	}
	// FUSE_NOTIFY_RESEND (Linux 6.9): the kernel asks again whatever it has
	// handed out and got no answer for.
	var resend [outHeaderSize]byte
	binary.NativeEndian.PutUint32(resend[0:], outHeaderSize)
	binary.NativeEndian.PutUint32(resend[4:], 7)
	if _, err := unix.Write(l.fd, resend[:]); err != nil {
		return fmt.Errorf("asking the kernel for unanswered requests: %w", err)
	}
	return nil
}

// answerInit returns the answer to INIT. It may be called any number of times.
func (l *loop) answerInit(init []byte) ([]byte, error) {
	const needed = gofuse.CAP_NO_OPEN_SUPPORT | gofuse.CAP_NO_OPENDIR_SUPPORT
	if flags := binary.NativeEndian.Uint32(init[inHeaderSize+12:]); flags&needed != needed {
		return nil, errors.New("this kernel's FUSE cannot do without OPEN and OPENDIR; Linux 5.1 or later is needed")
	}
	out := make([]byte, 4096)
	n, _ := l.proto.HandleRequest([][]byte{init}, [][]byte{out})
	if n < outHeaderSize+24 {
		return nil, errors.New("go-fuse and this kernel's FUSE do not agree on a protocol version")
	}
	const maxWriteAt = outHeaderSize + 20
	binary.NativeEndian.PutUint32(out[maxWriteAt:], minWrite)
	return out[:n], nil
}

// readFirst reads the first request, which the kernel queues when it mounts.
func readFirst(ctx context.Context, fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if err != nil && err != unix.EINTR {
			return 0, err
		}
		if n > 0 {
			n, err := unix.Read(fd, buf)
			if err != unix.EINTR && err != unix.EAGAIN && err != unix.ENOENT {
				return n, err
			}
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
}
