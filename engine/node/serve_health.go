package node

import (
	"net/http"
	"time"

	"github.com/floefs/floe/engine/walrus"
)

// Health is what a node tells of itself. Of what a Walrus node has to tell,
// this is what has a meaning without a chain.
type Health struct {
	Uptime struct {
		Secs  int64 `json:"secs"`
		Nanos int64 `json:"nanos"`
	} `json:"uptime"`
	Epoch     walrus.Epoch `json:"epoch"`
	PublicKey string       `json:"publicKey"` // in base64; "" if the node does not sign
	Status    string       `json:"nodeStatus"`
	Progress  struct {
		Persisted int  `json:"persisted"`
		Pending   int  `json:"pending"`
		Highest   *int `json:"highestFinishedEventIndex"`
	} `json:"eventProgress"`
	Summary ShardSummary `json:"shardSummary"`
	Detail  *ShardDetail `json:"shardDetail,omitempty"`
}

// ShardSummary counts shards.
type ShardSummary struct {
	Owned  int `json:"owned"`
	Status struct {
		Unknown    int `json:"unknown"`
		Ready      int `json:"ready"`
		InTransfer int `json:"inTransfer"`
		InRecovery int `json:"inRecovery"`
	} `json:"ownedShardStatus"`
	ReadOnly int `json:"readOnly"`
}

// ShardDetail lists shards.
type ShardDetail struct {
	Owned []ShardStatus `json:"owned"`
	Other []ShardStatus `json:"other"`
}

// ShardStatus is how it stands with one shard.
type ShardStatus struct {
	Shard  int    `json:"shard"`
	Status string `json:"status"`
}

func (h *Handler) health(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r, "detailed")
	if err != nil {
		return err
	}
	detailed, err := flagged(q, "detailed")
	if err != nil {
		return err
	}
	var s Health
	up := time.Since(h.started)
	s.Uptime.Secs, s.Uptime.Nanos = int64(up/time.Second), int64(up%time.Second)
	s.Epoch, s.Status = h.opts.Epoch, "Active"
	if h.opts.Key != nil {
		s.PublicKey = h.opts.Key.Public().String()
	}
	s.Summary.Owned = len(h.opts.Shards)
	s.Summary.Status.Ready = len(h.opts.Shards)
	if detailed {
		s.Detail = &ShardDetail{Owned: []ShardStatus{}, Other: []ShardStatus{}}
		for _, shard := range h.opts.Shards {
			s.Detail.Owned = append(s.Detail.Owned, ShardStatus{shard, "ready"})
		}
	}
	return writeSuccess(w, http.StatusOK, s)
}
