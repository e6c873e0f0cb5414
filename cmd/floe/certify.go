package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/floefs/floe/engine/blob"
	"github.com/floefs/floe/engine/certificate"
	"github.com/floefs/floe/engine/publish"
	"github.com/floefs/floe/engine/walrus"
)

// A certified is how it came out that a committee was asked to certify what was
// put: one of the two is set.
type certified struct {
	Certificate   *certificateJSON `json:"certificate,omitempty"`
	NoCertificate string           `json:"no_certificate,omitempty"` // why
}

// A certificateJSON is what a true certificate says.
type certificateJSON struct {
	File    string       `json:"file"`
	Epoch   walrus.Epoch `json:"epoch"`
	Blobs   int          `json:"blobs"`
	Weight  int          `json:"shards_signed"` // for each blob at least
	Quorum  int          `json:"quorum"`
	Shards  int          `json:"shards"`
	Signers []signerJSON `json:"signers"`
}

type signerJSON struct {
	Node  string `json:"node"`
	Blobs int    `json:"blobs"` // that it has signed for
}

// newCertificateJSON returns the JSON of a verdict about a certificate by nodes
// with these names.
func newCertificateJSON(file string, v certificate.Verdict, names []string) *certificateJSON {
	j := &certificateJSON{File: file, Epoch: v.Epoch, Blobs: v.Blobs, Weight: v.Weight, Quorum: v.Quorum, Shards: v.Shards}
	for i, blobs := range v.Signed {
		if blobs > 0 {
			j.Signers = append(j.Signers, signerJSON{names[i], blobs})
		}
	}
	return j
}

// signedBy lists who has signed, and for how much if that is not all.
func (j *certificateJSON) signedBy() string {
	var who []string
	for _, s := range j.Signers {
		name := s.Node
		if s.Blobs < j.Blobs {
			name += fmt.Sprintf(" (%s)", count(s.Blobs, "blob", "blobs"))
		}
		who = append(who, name)
	}
	return strings.Join(who, ", ")
}

// certify asks a committee to sign that it stores what was put, and keeps the
// certificate. That it does not is no error: the dataset is there all the same.
// Stores that are alone are not asked.
func (p *putter) certify(ctx context.Context, e *env, show *progress, to *place, sink *blob.Writer, res publish.Result) (certified, error) {
	if to.committee == nil {
		return certified{}, nil
	}
	by, err := to.committee.Signers()
	if err != nil {
		return certified{}, err
	}
	if why := to.cannotSign(by); why != "" {
		show.say("floe: no certificate: %s", why)
		return certified{NoCertificate: why}, nil
	}
	j, err := p.collect(ctx, e, show, to, by, sink, res)
	show.end()
	if ctx.Err() != nil {
		return certified{}, context.Cause(ctx)
	}
	if err != nil {
		show.say("floe: no certificate: %v", err)
		to.tellRefusals(show, err, res.ID)
		return certified{NoCertificate: err.Error()}, nil
	}
	show.say("certified: nodes with %d of %d shards have signed that they store it; floe verify --certificate%s checks that, offline",
		j.Weight, j.Shards, p.typed(res.ID))
	return certified{Certificate: j}, nil
}

// collect collects a certificate and keeps it.
func (p *putter) collect(ctx context.Context, e *env, show *progress, to *place, by *walrus.Committee, sink *blob.Writer, res publish.Result) (*certificateJSON, error) {
	blobs, err := certificate.Blobs(res.ID, res.Table)
	if err != nil {
		return nil, err
	}
	tell := func(done int) {
		show.show(func() string {
			return fmt.Sprintf("nodes confirm: %s of %s", grouped(done), count(len(blobs), "blob", "blobs"))
		})
	}
	tell(0)
	signed, liars, err := sink.Certify(ctx, by, blobs, tell)
	for _, l := range liars {
		show.say("floe: node %s is not counted: %s", to.members[l.Member], reason(l.Err.Error()))
	}
	if err != nil {
		return nil, err
	}
	c, verdict, err := certificate.New(ctx, res.ID, res.Table, by, signed)
	if err != nil {
		return nil, err
	}
	file, err := e.keepCertificate(c, by)
	if err != nil {
		return nil, fmt.Errorf("it cannot be kept: %w", err)
	}
	return newCertificateJSON(file, verdict, to.committee.Names()), nil
}

// typed returns what was put as it is to be typed behind a command.
func (p *putter) typed(id walrus.BlobID) string {
	if p.name != "" {
		return " " + p.name
	}
	return " --from " + shellQuote(p.to) + " " + id.String()
}

// cannotSign returns why those of a committee who can sign are no quorum; "" if
// they are.
func (p *place) cannotSign(by *walrus.Committee) string {
	weight, keys := 0, 0
	var unable []string
	for i, m := range by.Members() {
		n := p.committee.Nodes[i]
		if n.Key != nil {
			keys++
		}
		switch {
		case p.members[i].client == nil:
			unable = append(unable, fmt.Sprintf("%s is no server", n.Name))
		case n.Key == nil:
			unable = append(unable, fmt.Sprintf("%s has no public_key", n.Name))
		case !n.Proven:
			unable = append(unable, fmt.Sprintf("%s has no possession of its public_key", n.Name))
		default:
			weight += m.Weight
		}
	}
	switch {
	case weight >= by.Quorum():
		return ""
	case keys == 0:
		return "the committee file has no public keys, by which it could be checked: floe keygen makes keys, and floe node --key signs with them"
	}
	if len(unable) > 4 {
		unable = append(unable[:3], fmt.Sprintf("and %d more", len(unable)-3))
	}
	return fmt.Sprintf("according to the committee file nodes with %d of %d shards can sign, and %d are needed (%s): floe node --key prints the lines of one that can",
		weight, by.Shards(), by.Quorum(), strings.Join(unable, ", "))
}

// tellRefusals names the nodes without whose confirmation there is no quorum.
func (p *place) tellRefusals(show *progress, err error, id walrus.BlobID) {
	var few *blob.QuorumError
	if !errors.As(err, &few) {
		return
	}
	for _, r := range few.Refusals {
		if !errors.Is(r.Err, blob.ErrConfirmation) {
			show.say("floe: node %s did not confirm: %s", p.members[r.Member], reason(r.Err.Error()))
		}
	}
	show.say("floe: when they are back, type the same floe put again; what one lacks floe repair --from %s %s brings it before", shellQuote(p.url), id)
}
