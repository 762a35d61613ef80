// Package pods watches the pods of one node: where they are and what their
// bandwidth annotations say.
package pods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/detnet/detnet/agent/kube"
)

// Pod is a pod with a network namespace of its own that may be sending.
type Pod struct {
	Namespace, Name, UID string
	IPs                  []netip.Addr // empty until the CNI has given one
	// Egress and Ingress are the bandwidth annotations as they stand, unparsed;
	// empty where there are none.
	Egress, Ingress string
	// Decision is workload.AnnotationLimitDecision, likewise.
	Decision string
	Stopping bool // it is being deleted
}

// Watch follows the pods of one node. Make it with New, serve it with Run.
type Watch struct {
	client  *kube.Client
	node    string
	log     *slog.Logger
	changed chan struct{}
	version string // the newest resource version seen; of Run alone

	mu     sync.Mutex
	synced bool
	pods   map[string]Pod // by UID
}

// New returns a Watch of the pods on node.
func New(client *kube.Client, node string, log *slog.Logger) *Watch {
	return &Watch{client: client, node: node, log: log, changed: make(chan struct{}, 1), pods: map[string]Pod{}}
}

// Synced reports whether the first list is complete.
func (w *Watch) Synced() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.synced
}

// Changed receives after the pods changed; several changes may come as one.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// List returns the pods ordered by UID. One that is being deleted keeps no address that another
// pod has by now: its own network may be gone long before it is, as a finalizer lets it.
func (w *Watch) List() []Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Pod, 0, len(w.pods))
	stays := make(map[netip.Addr]bool, len(w.pods))
	for _, p := range w.pods {
		list = append(list, p)
		for _, addr := range p.IPs {
			stays[addr] = stays[addr] || !p.Stopping
		}
	}
	for i, p := range list {
		if p.Stopping && slices.ContainsFunc(p.IPs, func(addr netip.Addr) bool { return stays[addr] }) {
			list[i].IPs = nil
		}
	}
	slices.SortFunc(list, func(a, b Pod) int { return strings.Compare(a.UID, b.UID) })
	return list
}

// How long to wait before the next try, and how long one watch may take: then
// the API server ends it, so that connections spread over its replicas.
const (
	firstWait = time.Second
	lastWait  = 30 * time.Second
	watchTime = 5 * time.Minute
)

// oldest asks for a list of any age, which an API server has in memory.
const oldest = "0"

// Run watches until ctx ends. What fails is reported and tried again; the pods
// stay as they were last known.
func (w *Watch) Run(ctx context.Context) error {
	w.version = oldest
	wait, timer := firstWait, time.NewTimer(0)
	defer timer.Stop()
	for {
		begun := time.Now()
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begun) > lastWait {
			wait = firstWait
		}
		w.log.Warn("the watch of this node's pods was interrupted; it begins again", "err", err, "in", wait)
		timer.Reset(wait/2 + rand.N(wait)) // agents that were interrupted together come back one by one
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, lastWait)
	}
}

// follow lists the pods, and watches them from there until that fails.
func (w *Watch) follow(ctx context.Context) error {
	if err := w.list(ctx); err != nil {
		// An API server that does not have that version, or not yet, is asked for
		// what is true now.
		if refused := new(kube.StatusError); errors.As(err, &refused) && (refused.Code == http.StatusGone || refused.Code == http.StatusGatewayTimeout) {
			w.version = ""
		}
		return fmt.Errorf("list the pods of node %s: %w", w.node, err)
	}
	for {
		if err := w.watch(ctx); err != nil {
			return fmt.Errorf("watch the pods of node %s: %w", w.node, err)
		}
	}
}

func (w *Watch) get(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	query.Set("fieldSelector", "spec.nodeName="+w.node)
	query.Set("resourceVersion", w.version)
	return w.client.Get(ctx, "/api/v1/pods", query)
}

// list replaces all that is known by a list that is not older than that.
func (w *Watch) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastWait)
	defer cancel()
	body, err := w.get(ctx, url.Values{})
	if err != nil {
		return err
	}
	defer body.Close()
	var l list
	if err := json.NewDecoder(body).Decode(&l); err != nil {
		return err
	}
	pods := make(map[string]Pod, len(l.Items))
	for i := range l.Items {
		if o := &l.Items[i]; o.sends() {
			pods[o.Metadata.UID] = o.pod()
		}
	}
	w.version = l.Metadata.ResourceVersion
	w.mu.Lock()
	w.pods, w.synced = pods, true
	w.mu.Unlock()
	w.notify()
	return nil
}

// watch follows the pods until the API server ends the watch, which it does
// without an error after the time that it is asked for.
func (w *Watch) watch(ctx context.Context) error {
	length := watchTime + rand.N(watchTime)
	ctx, cancel := context.WithTimeout(ctx, length+lastWait)
	defer cancel()
	begun := time.Now()
	body, err := w.get(ctx, url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"}, "timeoutSeconds": {strconv.Itoa(int(length.Seconds()))}})
	if err != nil {
		return err
	}
	defer body.Close()
	for events := json.NewDecoder(body); ; {
		var e event
		err := events.Decode(&e)
		if err == nil {
			err = w.apply(e)
		}
		if errors.Is(err, io.EOF) && time.Since(begun) > firstWait {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *Watch) apply(e event) error {
	if e.Type == "ERROR" {
		var s status
		if err := json.Unmarshal(e.Object, &s); err != nil {
			return err
		}
		return &kube.StatusError{Code: s.Code, Message: s.Message}
	}
	var o object
	if err := json.Unmarshal(e.Object, &o); err != nil {
		return fmt.Errorf("read a pod: %w", err)
	}
	w.version = o.Metadata.ResourceVersion
	if e.Type == "BOOKMARK" {
		return nil
	}
	w.mu.Lock()
	if e.Type != "DELETED" && o.sends() {
		w.pods[o.Metadata.UID] = o.pod()
	} else {
		delete(w.pods, o.Metadata.UID)
	}
	w.mu.Unlock()
	w.notify()
	return nil
}

func (w *Watch) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
