package marks

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Marker is the runnable. Its fields are set before Start and not after.
type Marker struct {
	Snapshot func() *inventory.Snapshot
	Status   func() *status.Status
	Nodes    corev1client.NodeInterface // to read; To writes
	To       *write.Writer
	Log      *slog.Logger
	// Config is asked anew each time.
	Config func() Config

	known  map[string]uplink
	last   time.Time
	failed map[string]failure
}

// failure of a node's last change, and when to try again.
type failure struct {
	text  string
	again time.Time
}

// interval between two looks, and the pause after a failure, such as a right
// that went before the marks did.
const (
	interval = 2 * time.Second
	pause    = time.Minute
)

// Start marks nodes until ctx ends. The marks stay: the next leader goes on, and
// begins from them.
func (m *Marker) Start(ctx context.Context) error {
	m.known, m.failed, m.last = nil, nil, time.Time{}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			m.once(ctx, time.Now())
		}
	}
}

// once brings every node up to date. What fails is tried again after a pause, and
// said when it is new.
func (m *Marker) once(ctx context.Context, now time.Time) {
	s, nodes := m.Status(), m.Snapshot().Marks
	if !s.Leader || s.Mode != string(workload.Enforce) {
		return
	}
	step := min(now.Sub(m.last), 2*interval) // the first one is short
	m.last = now
	var wanted map[string]want
	m.known, wanted = decide(m.Config(), m.known, nodes, s.Reasons, now, step)
	failed := map[string]failure{}
	for _, node := range slices.Sorted(maps.Keys(wanted)) {
		before := m.failed[node]
		if now.Before(before.again) {
			failed[node] = before
			continue
		}
		err := m.mark(ctx, node, nodes[node], wanted[node])
		switch {
		case err == nil, apierrors.IsConflict(err): // somebody else was first: next time
		case apierrors.IsNotFound(err):
			delete(m.known, node)
		default:
			failed[node] = failure{err.Error(), now.Add(pause)}
			if err.Error() != before.text {
				m.Log.Error("node not marked; after the marks were switched off, \"detnet restore\" removes them", "node", node, "err", err)
			}
		}
	}
	m.failed = failed
}

func (m *Marker) mark(ctx context.Context, node string, has inventory.Marks, w want) error {
	bandwidth := w.bandwidth != advertised(has) || (w.bandwidth == 0 && has.Advertised != "")
	if w.congested == has.Congested && !bandwidth {
		return nil
	}
	now, err := m.Nodes.Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", node, err)
	}
	if w.congested != has.Congested {
		if err := taint(ctx, m.To, now, w.congested); err != nil {
			return err
		}
		m.Log.Info("taint changed", "node", node, "congested", w.congested)
	}
	if bandwidth {
		if err := advertise(ctx, m.To, now, w.bandwidth); err != nil {
			return err
		}
		m.Log.Info("bandwidth advertised", "node", node, "bandwidth", w.bandwidth.String())
	}
	return nil
}
