package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/floefs/floe/engine/walrus"
)

// What nodes can be asked beyond what a Store is.

// maxJSON bounds answers in JSON.
const maxJSON = 256 << 10

// Health returns what the node tells of itself, with its shards.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	if err := c.askJSON(ctx, Request{Method: http.MethodGet, Path: "/v1/health?detailed=true"}, &h); err != nil {
		return h, fmt.Errorf("health: %w", err)
	}
	return h, nil
}

// Confirm asks the node to sign that it stores all slivers of a blob that are
// assigned to it. object is that of a deletable blob, nil for a permanent one.
// Whether this is signed, and by whom, is not looked at. An error that says
// MISSING_SLIVERS or NOT_REGISTERED is a StatusError.
func (c *Client) Confirm(ctx context.Context, id walrus.BlobID, object *walrus.ObjectID) (walrus.SignedMessage, error) {
	path := blobPath(id) + "/confirmation/permanent"
	if object != nil {
		path = blobPath(id) + "/confirmation/deletable/" + object.String()
	}
	var form signedForm
	if err := c.askJSON(ctx, Request{Method: http.MethodGet, Path: path}, &form); err != nil {
		return walrus.SignedMessage{}, fmt.Errorf("confirmation of blob %s: %w", id, err)
	}
	return form.Signed, nil
}

// ReportInconsistency shows the node that a blob is inconsistent, and asks it
// to sign that.
func (c *Client) ReportInconsistency(ctx context.Context, id walrus.BlobID, proof *walrus.InconsistencyProof) (walrus.SignedMessage, error) {
	r := Request{
		Method: http.MethodPost, Path: blobPath(id) + "/inconsistencyProof/" + proof.Target.Axis.String(),
		Body: [][]byte{proof.Append(nil)},
	}
	var form signedForm
	if err := c.askJSON(ctx, r, &form); err != nil {
		return walrus.SignedMessage{}, fmt.Errorf("inconsistency of blob %s: %w", id, err)
	}
	return form.Signed, nil
}

// RecoverySymbols returns symbols for a sliver, from those slivers of the
// other axis that the node has; as many as it will send at once. They are not
// proven: see walrus.Metadata.CheckSymbol.
func (c *Client) RecoverySymbols(ctx context.Context, id walrus.BlobID, params walrus.Params, target walrus.SliverID) ([]walrus.GeneralRecoverySymbol, error) {
	q := url.Values{"targetSliver": {strconv.Itoa(target.Index)}, "targetType": {target.Axis.String()}}
	most := int64(8) + int64(params.N)*int64(params.RecoverySymbolLen())
	body, err := c.get(ctx, blobPath(id)+"/recoverySymbols?"+q.Encode(), most)
	if err != nil {
		return nil, fmt.Errorf("recovery symbols for %s of blob %s: %w", target, id, err)
	}
	symbols, err := walrus.ParseRecoverySymbols(body)
	if err != nil {
		return nil, fmt.Errorf("recovery symbols for %s of blob %s: %w: %w", target, id, ErrProtocol, err)
	}
	return symbols, nil
}

// askJSON sets data to the data of a successful answer.
func (c *Client) askJSON(ctx context.Context, r Request, data any) error {
	resp, err := c.at.Send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := ReadAnswer(resp, maxJSON)
	if err != nil {
		return err
	}
	var form successForm
	form.Success.Data = data
	if err := json.Unmarshal(body, &form); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}
