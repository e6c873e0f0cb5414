package publish

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/floefs/floe/engine/catalog"
)

// xattrs sets the xattrs of an item that is open as fd.
func (w *walker) xattrs(it *item, fd int) error {
	path := func() string {
		if it.entry.Type == catalog.Dir {
			return w.path("")
		}
		return w.path(it.entry.Name)
	}
	list, err := userXattrs(fd)
	if err != nil {
		return err
	}
	keep := list[:0]
	for _, x := range list {
		if err := catalog.CheckXattrName(x.Name); err != nil {
			w.res.Notices.add(XattrsLost, path(), err.Error())
			continue
		}
		keep = append(keep, x)
	}
	if it.xattr, err = catalog.EncodeXattrs(keep); err != nil {
		it.xattr = nil
		w.res.Notices.add(XattrsLost, path(), err.Error())
	}
	return nil
}

// userXattrs returns the xattrs of the user namespace of a file.
func userXattrs(fd int) ([]catalog.Xattr, error) {
	names, err := grown(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var list []catalog.Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		value, err := grown(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if err == unix.ENODATA {
			err = ErrChanged // it was listed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, catalog.Xattr{Name: name, Value: value})
	}
	return list, nil
}

// grown calls get, which fills a buffer and says how much there is, with one
// that is large enough. A file system without xattrs has none.
func grown(get func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := retry(func() (int, error) { return get(nil) })
		if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
			return nil, nil
		}
		if err != nil || n == 0 {
			return nil, err
		}
		buf := make([]byte, n)
		n, err = retry(func() (int, error) { return get(buf) })
		if err == unix.ERANGE {
			continue // it grew meanwhile
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}
