package marks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/controller/write"
)

// Marker is the runnable. Its fields are set before Start and not after.
type Marker struct {
	Snapshot func() *inventory.Snapshot
	// Reasons are the present decisions; false where nothing is enforced from here.
	Reasons func() ([]status.Reason, bool)
	Nodes   corev1client.NodeInterface // to read; To writes
	To      *write.Writer
	Log     *slog.Logger
	// Config is asked anew each time.
	Config func() Config

	known map[string]uplink
	last  time.Time
	again time.Time // nothing is written before: the API server could not be asked
}

// interval between two looks, and the pause after a failure that is no refusal.
const (
	interval = 2 * time.Second
	pause    = time.Minute
)

// Start marks nodes until ctx ends. The marks stay: the next leader goes on, and
// begins from them.
func (m *Marker) Start(ctx context.Context) error {
	m.known, m.last, m.again = nil, time.Time{}, time.Time{}
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

// once brings every node up to date. A node whose change is refused waits by
// itself, which To tells; with other failures all wait.
func (m *Marker) once(ctx context.Context, now time.Time) {
	reasons, enforces := m.Reasons()
	if !enforces {
		return
	}
	nodes := m.Snapshot().Marks
	step := min(now.Sub(m.last), 2*interval) // the first one is short
	m.last = now
	var wanted map[string]want
	m.known, wanted = decide(m.Config(), m.known, nodes, reasons, now, step)
	if now.Before(m.again) {
		return
	}
	notes := 0
	for _, node := range slices.Sorted(maps.Keys(wanted)) {
		w := wanted[node]
		if w.found != nodes[node].Found {
			if m.To.Resting("Node", "", node) {
				continue // it takes nobody's turn
			}
			if notes++; notes > noteMost {
				w.found = nodes[node].Found // next time
			}
		}
		err := m.mark(ctx, node, nodes[node], w)
		_, refused := write.AsRefusal(err)
		switch {
		case err == nil, refused, apierrors.IsConflict(err): // with a conflict somebody else was first: next time
		case errors.Is(err, leader.ErrNotLeading):
			return // written once the lease is renewed, or by the next leader
		case apierrors.IsNotFound(err):
			delete(m.known, node)
		default:
			m.again = now.Add(pause)
			m.Log.Error("nodes are not marked; after the marks were switched off, \"detnet restore\" removes them", "node", node, "err", err)
			return
		}
	}
}

func (m *Marker) mark(ctx context.Context, node string, has inventory.Marks, w want) error {
	bandwidth := w.bandwidth != advertised(has) || (w.bandwidth == 0 && has.Advertised != "")
	if w.congested == has.Congested && !bandwidth && w.found == has.Found {
		return nil
	}
	if m.To.Resting("Node", "", node) {
		return nil // nor is it read
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
	if w.found != has.Found {
		if err := remember(ctx, m.To, now, w.found); err != nil {
			return err
		}
		m.Log.Info("what fits through its uplink noted", "node", node, "found", w.found.String())
	}
	return nil
}
