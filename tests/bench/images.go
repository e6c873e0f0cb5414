package main

import (
	"context"
	"os"
)

// squashImage makes the squashfs image, once.
func (st *stage) squashImage(ctx context.Context) error {
	if st.squash != "" {
		return nil
	}
	image := st.path("squashfs.image")
	_, err := run(ctx, nil, "mksquashfs", st.source, image, "-noI", "-noD", "-noF", "-noX", "-no-progress", "-quiet")
	if err == nil {
		st.squash = image
	}
	return err
}

// squashfs is mounted by way of a loop device.
func squashfs(ctx context.Context, st *stage) (*view, error) {
	if err := st.squashImage(ctx); err != nil {
		return nil, err
	}
	return st.kernelView("squashfs", st.squash), nil
}

func erofs(ctx context.Context, st *stage) (*view, error) {
	image := st.path("erofs.image")
	if _, err := run(ctx, nil, "mkfs.erofs", image, st.source); err != nil {
		return nil, err
	}
	return st.kernelView("erofs", image), nil
}

// kernelView is an image that the kernel mounts.
func (st *stage) kernelView(kind, image string) *view {
	v := &view{dir: st.path("mnt-" + kind)}
	v.mount = func(ctx context.Context) (*process, error) {
		_, err := run(ctx, nil, "mount", "-t", kind, "-o", "loop,ro", image, v.dir)
		return nil, err
	}
	return v
}

func squashfuse(ctx context.Context, st *stage) (*view, error) {
	if err := st.squashImage(ctx); err != nil {
		return nil, err
	}
	v := &view{dir: st.path("mnt-squashfuse")}
	v.mount = func(context.Context) (*process, error) {
		return start(st.path("squashfuse.log"), []string{"HOME=" + os.TempDir()}, "squashfuse", "-f", "-o", "allow_other,ro", st.squash, v.dir)
	}
	return v, nil
}
