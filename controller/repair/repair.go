// Package repair mends what admission leaves behind. Pods without stamps that
// admission has signed, because the webhook was away when they were created,
// because somebody forged them or because their version did not sign: the webhook
// is asked what it would make of them now, and labels and annotations become
// that; what only a new pod can get or lose, such as a priority class, is said in
// an Event.
package repair

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/hook"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/write"
)

// Inventory says who carries no stamps that count, and is told who needs none.
type Inventory interface {
	Snapshot() *inventory.Snapshot
	Settle(*inventory.Unstamped)
	Recheck()
}

// Repair is the runnable. Its fields are set before Start and not after.
type Repair struct {
	Inventory Inventory
	Client    kubernetes.Interface // to read; To writes
	To        *write.Writer
	Events    write.Events
	Log       *slog.Logger
	Webhook   string // name of the MutatingWebhookConfiguration
	// Certificate is hook.Hook's.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

	repaired *prometheus.CounterVec
	attempts map[types.UID]attempt
	warned   map[types.UID]string // what pods were warned of, as last told
	away     string               // why the webhook can't be asked, as last told
	resume   time.Time            // nobody is asked about before
	rechecks time.Time
}

// attempt is what came of asking about one pod.
type attempt struct {
	of    *inventory.Unstamped
	again time.Time
	pause time.Duration
	why   string // it was not mended
}

// A round asks about so many pods at most: thousands at once, as after an upgrade
// from a version that did not sign, are no storm for the webhook.
const (
	interval = time.Second
	perRound = 20
)

// Pauses after the webhook could not be asked, and of one pod after it was asked
// about; and the time after which those that need nothing are asked about again.
const (
	awayPause  = 5 * time.Second
	firstPause = 15 * time.Second
	longPause  = 10 * time.Minute
	recheck    = time.Hour
)

// maxWarned bounds what is remembered of warnings.
const maxWarned = 10_000

// Register makes the metrics known. Call it before Start.
func (r *Repair) Register(reg prometheus.Registerer) {
	r.repaired = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "detnet_repairs_total",
		Help: "Pods without signed stamps that got those of a review later, by whether all could be mended.",
	}, []string{"complete"})
	reg.MustRegister(r.repaired)
}

// Start mends pods until ctx ends.
func (r *Repair) Start(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.Once(ctx, time.Now())
		}
	}
}

// Once asks about the pods that are due, those first that wear stamps, and mends
// them.
func (r *Repair) Once(ctx context.Context, now time.Time) {
	if now.Sub(r.rechecks) >= recheck {
		if !r.rechecks.IsZero() {
			r.Inventory.Recheck()
		}
		r.rechecks = now
	}
	due := r.due(r.Inventory.Snapshot().Unstamped, now)
	if len(due) == 0 || now.Before(r.resume) {
		return
	}
	endpoint, err := r.reach(ctx)
	if err != nil {
		r.pause(err, now)
		return
	}
	defer endpoint.Close()
	for _, u := range due[:min(len(due), perRound)] {
		if ctx.Err() != nil {
			return
		}
		err := r.mend(ctx, endpoint, u)
		if errors.Is(err, leader.ErrNotLeading) {
			return // it is the next leader's to mend
		}
		if errors.Is(err, errAway) {
			r.pause(err, now)
			return
		}
		r.note(u, err, now)
	}
	if r.away != "" {
		r.Log.Info("the webhook answers again: pods without signed stamps are mended")
		r.away = ""
	}
}

// due are those to ask about now: the namespaces in turn, so that nobody waits for
// all the pods that another has made, each with its most urgent one first. Attempts
// for pods that are mended or gone are forgotten.
func (r *Repair) due(all []*inventory.Unstamped, now time.Time) []*inventory.Unstamped {
	kept := make(map[types.UID]attempt, len(r.attempts))
	var due []*inventory.Unstamped
	for _, u := range all {
		a, asked := r.attempts[u.UID]
		if asked {
			kept[u.UID] = a
		}
		if !asked || !now.Before(a.again) {
			due = append(due, u)
		}
	}
	r.attempts = kept
	slices.SortStableFunc(due, func(a, b *inventory.Unstamped) int { return urgency(b) - urgency(a) })
	turn := make(map[types.UID]int, len(due)) // of a pod among those of its namespace
	seen := map[string]int{}
	for _, u := range due {
		turn[u.UID] = seen[u.Pod.Namespace]
		seen[u.Pod.Namespace]++
	}
	slices.SortStableFunc(due, func(a, b *inventory.Unstamped) int { return turn[a.UID] - turn[b.UID] })
	return due
}

func urgency(u *inventory.Unstamped) int {
	switch {
	case u.Forged:
		return 2
	case u.Outdated: // counts as it is
		return 0
	}
	return 1
}

// note remembers what came of asking about a pod.
func (r *Repair) note(u *inventory.Unstamped, err error, now time.Time) {
	before := r.attempts[u.UID]
	a := attempt{of: u, pause: min(max(2*before.pause, firstPause), longPause)}
	a.again = now.Add(a.pause)
	if err != nil {
		a.why = err.Error()
		if _, told := write.AsRefusal(err); !told && a.why != before.why {
			r.Log.Warn("pod not mended: it is neither protected nor limited", "pod", u.Pod.String(), "err", err)
			r.Events.Eventf(reference(u), nil, corev1.EventTypeWarning, "Unstamped", "stamp", "%s",
				write.Note("it carries no stamps that admission has signed, and is neither protected nor limited: "+a.why))
		}
	}
	r.attempts[u.UID] = a
}

// pause leaves a webhook alone that can't be asked.
func (r *Repair) pause(err error, now time.Time) {
	r.resume = now.Add(awayPause)
	if err.Error() != r.away {
		r.Log.Warn("the webhook can't be asked: pods without signed stamps stay as they are", "err", err)
	}
	r.away = err.Error()
}

func (r *Repair) reach(ctx context.Context) (hook.Endpoint, error) {
	webhook := hook.Hook{Client: r.Client, Name: r.Webhook, Certificate: r.Certificate}
	entry, err := webhook.Find(ctx)
	if err != nil {
		return hook.Endpoint{}, err
	}
	return webhook.Reach(ctx, entry)
}

func (r *Repair) mend(ctx context.Context, e hook.Endpoint, u *inventory.Unstamped) error {
	pod, err := r.Client.CoreV1().Pods(u.Pod.Namespace).Get(ctx, u.Pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && pod.UID != u.UID) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pod: %w", err)
	}
	stamped, warnings, err := review(ctx, e, asAdmitted(pod))
	if err != nil {
		return err
	}
	r.warn(u, warnings)
	d := differs(pod, stamped)
	if d.empty() {
		r.Inventory.Settle(u) // by the policy of today it gets nothing
		return nil
	}
	err = r.To.Do(ctx, write.Change{
		Target: write.Target{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Merge:  map[string]any{"metadata": map[string]any{"labels": d.labels, "annotations": d.annotations}},
	})
	if write.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	complete, notes := d.told(pod, stamped)
	r.repaired.WithLabelValues(fmt.Sprint(complete)).Inc()
	r.Log.Info("pod mended", "pod", u.Pod.String(), "complete", complete, "changes", notes)
	if notes != "" {
		r.Events.Eventf(reference(u), nil, corev1.EventTypeNormal, "Repaired", "stamp", "%s", write.Note(notes))
	}
	return nil
}

// warn tells what the webhook would tell who creates the pod, such as a class or a
// key that nobody knows; of a pod that a controller creates nobody saw it.
func (r *Repair) warn(u *inventory.Unstamped, warnings []string) {
	text := strings.Join(warnings, "; ")
	if text == "" || r.warned[u.UID] == text {
		return
	}
	if len(r.warned) >= maxWarned || r.warned == nil {
		r.warned = map[types.UID]string{}
	}
	r.warned[u.UID] = text
	r.Events.Eventf(reference(u), nil, corev1.EventTypeWarning, "Warned", "stamp", "%s", write.Note(text))
}

func reference(u *inventory.Unstamped) *corev1.ObjectReference {
	return write.Target{Kind: "Pod", Namespace: u.Pod.Namespace, Name: u.Pod.Name, UID: u.UID}.Reference()
}
