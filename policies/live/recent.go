package live

import (
	"context"
	"fmt"
	"sync"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/trial"
)

// What is kept of the pods decided lately: enough to notice a policy that
// can't cope with what this cluster runs, little enough to forget about.
const (
	maxRecent     = 128
	maxRecentSize = 64 << 10 // bytes of text in one pod
)

// recent remembers one pod of each of the workloads decided on lately.
type recent struct {
	mu    sync.Mutex
	index map[string]int
	ring  []trial.Subject
	next  int
}

// record remembers in, in the place of an earlier pod of the same workload.
func (r *recent) record(in policies.Input) {
	source := sourceOf(in)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.index == nil {
		r.index = map[string]int{}
	}
	if _, known := r.index[source]; known || textIn(map[string]any(in.Pod), maxRecentSize) > maxRecentSize {
		return
	}
	s := trial.Subject{Source: source, Input: in}
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, s)
		r.index[source] = len(r.ring) - 1
		return
	}
	delete(r.index, r.ring[r.next].Source)
	r.ring[r.next] = s
	r.index[source] = r.next
	r.next = (r.next + 1) % maxRecent
}

func (r *recent) all() []trial.Subject {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]trial.Subject(nil), r.ring...)
}

// sourceOf names the workload: pods of a controller share what they are
// generated from.
func sourceOf(in policies.Input) string {
	meta, _ := in.Pod["metadata"].(map[string]any)
	name, _ := meta["generateName"].(string)
	if name == "" {
		name, _ = meta["name"].(string)
	}
	return in.Namespace.Name + "/" + name
}

// textIn is how much text is in v, in bytes; it stops counting above most.
func textIn(v any, most int) int {
	n := 8
	switch v := v.(type) {
	case string:
		n += len(v)
	case map[string]any:
		for key, inner := range v {
			if n += len(key) + textIn(inner, most-n); n > most {
				break
			}
		}
	case []any:
		for _, inner := range v {
			if n += textIn(inner, most-n); n > most {
				break
			}
		}
	}
	return n
}

// copes checks that next decides on every recorded pod on which the engine in
// force does, and returns how many would change.
func (r *recent) copes(ctx context.Context, inForce, next *policies.Engine) (changed, of int, err error) {
	subjects := r.all()
	differences, err := trial.Run(ctx, inForce, next, subjects)
	if err != nil {
		return 0, 0, err
	}
	for _, d := range differences {
		if d.Error == "" {
			continue
		}
		err := fmt.Errorf("%w: it fails on a pod seen lately, %s: %s", policies.ErrPolicy, d.Source, d.Error)
		if d.Slow {
			err = fmt.Errorf("%w: %w", err, policies.ErrSlow)
		}
		return 0, 0, err
	}
	return len(differences), len(subjects), nil
}
