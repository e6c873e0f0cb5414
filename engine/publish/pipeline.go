package publish

import (
	"context"
	"fmt"
	"sync"

	"github.com/floefs/floe/engine/catalog"
	"github.com/floefs/floe/engine/walrus"
)

// A pipeline encodes and stores blobs in the order they are put: one is being
// encoded, on all cores, while the one before is being stored and its caller
// fills the next. That is as much as helps: encoding takes longest and cannot
// be split further.
type pipeline struct {
	run      *run
	ctx      context.Context // done when a stage has failed, with its error as the cause
	cancel   context.CancelCauseFunc
	journal  *journal
	blobSize int64

	// The address space so far; what a record says is known after wait.
	records []*catalog.BlobRecord

	free     chan []byte          // buffers; their users send and receive, nobody closes
	buffers  int                  // made so far
	encoders chan *walrus.Encoder // likewise
	encode   chan *job            // from putBlob, closed by stop; full means one is being encoded already
	store    chan *job            // from the encoding stage, which closes it
	stages   sync.WaitGroup
	jobs     sync.WaitGroup // put and not yet stored
}

// A job is a blob on its way.
type job struct {
	data    []byte
	key     journalKey
	encoder *walrus.Encoder     // whose memory blob refers to
	blob    *walrus.Encoded     // nil: it is stored already
	record  *catalog.BlobRecord // where its id goes
}

// maxBuffers is one blob being filled, one encoded, one stored.
const maxBuffers = 3

func (r *run) newPipeline(j *journal, base []*catalog.BlobRecord) *pipeline {
	p := &pipeline{
		run: r, journal: j, blobSize: r.BlobSize, records: base,
		free: make(chan []byte, maxBuffers), encoders: make(chan *walrus.Encoder, r.encoders()),
		encode: make(chan *job), store: make(chan *job),
	}
	p.ctx, p.cancel = context.WithCancelCause(r.ctx)
	r.ctx = p.ctx // what fails in the pipeline ends the run
	for range cap(p.encoders) {
		e, err := walrus.NewEncoder(r.Shards)
		if err != nil {
			p.cancel(err)
			break
		}
		p.encoders <- e
	}
	p.stages.Go(func() { p.each(p.encode, p.encodeBlob); close(p.store) })
	p.stages.Go(func() { p.each(p.store, p.storeBlob) })
	return p
}

// encoders returns how many encoders there are: one works while what the other
// made is stored. Where all rows of a blob are stored, an encoder takes three
// times the memory, and there is only one.
func (r *run) encoders() int {
	p, err := walrus.NewParams(r.Shards, uint64(r.BlobSize))
	if err == nil && r.sink.Rows(p) == p.N {
		return 1
	}
	return 2
}

// stop ends the pipeline and waits for its stages.
func (p *pipeline) stop() {
	p.cancel(context.Canceled)
	close(p.encode)
	p.stages.Wait()
}

// cause returns the error of the stage that failed, if err is only that the
// run ended because of it.
func (p *pipeline) cause(err error) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return err
}

// buffer returns an empty buffer for a blob.
func (p *pipeline) buffer() ([]byte, error) {
	if p.buffers < maxBuffers && len(p.free) == 0 {
		p.buffers++
		return make([]byte, 0, p.blobSize), nil
	}
	select {
	case b := <-p.free:
		return b[:0], nil
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	}
}

// putNext puts the next blob of the address space.
func (p *pipeline) putNext(data []byte) error {
	rec, err := p.putBlob(data)
	p.records = append(p.records, rec)
	return err
}

// putBlob puts a blob and returns its record, which is complete after wait.
// The buffer goes back to the pipeline.
func (p *pipeline) putBlob(data []byte) (*catalog.BlobRecord, error) {
	j := &job{data: data, record: &catalog.BlobRecord{Size: int64(len(data))}}
	p.jobs.Add(1)
	select {
	case p.encode <- j:
		p.run.res.Blobs++
		return j.record, nil
	case <-p.ctx.Done():
		p.jobs.Done()
		return j.record, context.Cause(p.ctx)
	}
}

// wait returns when everything put is stored.
func (p *pipeline) wait() error {
	p.jobs.Wait()
	return context.Cause(p.ctx)
}

// each runs one stage on jobs until there are no more. After a failure jobs
// are only taken off.
func (p *pipeline) each(jobs chan *job, stage func(*job) (done bool, err error)) {
	for j := range jobs {
		done, err := true, p.ctx.Err()
		if err == nil {
			done, err = stage(j)
		}
		if err != nil {
			p.cancel(err)
			done = true
		}
		if done {
			if j.encoder != nil {
				p.encoders <- j.encoder
			}
			p.free <- j.data
			p.jobs.Done()
		}
	}
}

// encodeBlob hands a blob on to be stored, unless that was done before.
func (p *pipeline) encodeBlob(j *job) (done bool, err error) {
	stored, err := p.stored(j)
	if stored || err != nil {
		return true, err
	}
	j.encoder = <-p.encoders
	j.blob, err = j.encoder.Encode(p.ctx, j.data, p.run.sink.Rows(p.params(j)))
	if err != nil {
		return true, err
	}
	j.record.ID = j.blob.ID
	select {
	case p.store <- j:
		return false, nil
	case <-p.ctx.Done():
		return true, context.Cause(p.ctx)
	}
}

// stored reports whether an earlier run has stored the blob.
func (p *pipeline) stored(j *job) (bool, error) {
	if p.journal == nil {
		return false, nil
	}
	j.key = p.journal.key(j.data, p.run.Shards)
	id, ok := p.journal.find(j.key)
	if !ok {
		return false, nil
	}
	ok, err := p.run.sink.Stored(p.ctx, id, p.params(j), j.data)
	if err != nil || !ok {
		return false, err
	}
	j.record.ID = id
	p.run.log.Debug("blob is stored already", "blob", id.String(), "bytes", len(j.data))
	p.run.reused.Add(1)
	p.run.settled.Add(int64(len(j.data)))
	return true, nil
}

// storeBlob stores a blob and remembers that it is stored.
func (p *pipeline) storeBlob(j *job) (done bool, err error) {
	if err := p.run.sink.Put(p.ctx, j.blob); err != nil {
		return true, fmt.Errorf("storing blob %s: %w", j.blob.ID, err)
	}
	p.journal.add(j.key, j.blob.ID)
	p.run.log.Debug("blob stored", "blob", j.blob.ID.String(), "bytes", len(j.data))
	p.run.stored.Add(int64(len(j.data)))
	p.run.settled.Add(int64(len(j.data)))
	return true, nil
}

func (p *pipeline) params(j *job) walrus.Params {
	params, err := walrus.NewParams(p.run.Shards, uint64(len(j.data)))
	if err != nil {
		panic("internal error: " + err.Error()) // the largest blob was tried
	}
	return params
}
