package publish

import "fmt"

// A Kind is why something was left out or altered.
type Kind string

const (
	Device     Kind = "device"            // left out
	Fifo       Kind = "fifo"              // left out
	Socket     Kind = "socket"            // left out
	OtherType  Kind = "unknown type"      // left out
	OtherFS    Kind = "other file system" // left out: Options.OneFileSystem
	Excluded   Kind = "excluded"          // left out: Options.Exclude
	Avoided    Kind = "store or cache"    // left out: Options.Avoid
	TooDeep    Kind = "too deep"          // left out: a directory below more than readers follow
	Special    Kind = "setuid, setgid or sticky bit cleared"
	XattrsLost Kind = "extended attribute dropped"
	TimeMoved  Kind = "modification time moved into range"
)

// A Notice is one thing that was left out or altered.
type Notice struct {
	Kind   Kind
	Path   string // from the published directory
	Detail string // more, if there is more to say
}

func (n Notice) String() string {
	if n.Detail != "" {
		return fmt.Sprintf("%s: %s (%s)", n.Path, n.Kind, n.Detail)
	}
	return fmt.Sprintf("%s: %s", n.Path, n.Kind)
}

// keptNotices is how many notices of a kind are listed one by one.
const keptNotices = 100

// Notices are what was left out or altered: counted all, listed the first of
// each kind, in the order of the walk. A directory left out counts as one.
type Notices struct {
	List   []Notice
	Counts map[Kind]uint64
}

func (n *Notices) add(k Kind, path, detail string) {
	if n.Counts == nil {
		n.Counts = make(map[Kind]uint64)
	}
	n.Counts[k]++
	if n.Counts[k] <= keptNotices {
		n.List = append(n.List, Notice{k, path, detail})
	}
}
