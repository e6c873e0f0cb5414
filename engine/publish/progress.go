package publish

import (
	"sync/atomic"
	"time"
)

// A Progress is how far a run has come.
type Progress struct {
	Step Step

	// What there is. While Step is Walking it grows.
	Entries, Files uint64
	Bytes          uint64

	// What has been read: files, links after the first not counted, and bytes.
	FilesRead, BytesRead uint64

	Stored int64 // bytes of blobs stored, before encoding; those found stored count too

	Path string // of the entry at work, from the published directory
}

// A Step is what a run is doing.
type Step string

const (
	Walking Step = "walking"
	Reading Step = "reading"
	Tables  Step = "writing tables"
	Heading Step = "writing header"
)

const reportEvery = 100 * time.Millisecond

// A meter reports progress, not too often.
type meter struct {
	Progress
	report func(Progress)
	stored *atomic.Int64 // for Progress.Stored
	next   time.Time
}

// tick is called for each entry and each part of a file. The path is made
// only for a report.
func (m *meter) tick(path func() string) {
	if m.report == nil {
		return
	}
	now := time.Now()
	if now.Before(m.next) {
		return
	}
	m.next = now.Add(reportEvery)
	m.tell(path())
}

// flush reports the end.
func (m *meter) flush() {
	if m.report != nil {
		m.tell("")
	}
}

func (m *meter) tell(path string) {
	m.Path, m.Stored = path, m.stored.Load()
	m.report(m.Progress)
}
