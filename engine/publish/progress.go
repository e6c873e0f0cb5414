package publish

import "time"

// A Progress is how far a run has come.
type Progress struct {
	Step Step

	// What there is. While Step is Walking it grows.
	Entries, Files uint64
	Bytes          uint64

	// What has been read: files, links after the first not counted, and bytes.
	FilesRead, BytesRead uint64

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
	m.Path = path()
	m.report(m.Progress)
}

// flush reports the end.
func (m *meter) flush() {
	if m.report != nil {
		m.Path = ""
		m.report(m.Progress)
	}
}
