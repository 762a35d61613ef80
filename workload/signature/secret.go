package signature

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// SecretName is the Secret with the keys, in detnet's own namespace.
const SecretName = "detnet-stamp-key" //nolint:gosec // a name, and no secret

// Data of the Secret: the keys as they are, and since when the current one is
// in force (RFC 3339).
const (
	dataCurrent  = "current"
	dataPrevious = "previous"
	dataSince    = "since"
)

// Rotation is how long a key signs. What it signed is believed for as long
// again, in which the controller has the pods that still run signed anew.
const Rotation = 30 * 24 * time.Hour

// A failed write is tried again after retryAfter; an event may come first.
const retryAfter = 10 * time.Second

// Secret follows the Secret with the keys and makes it where it is missing,
// unusable or due. Every replica of every program may run one: the first write
// wins and the others follow it. It needs get, list, watch and update on the
// Secret of that name, and create on Secrets of the namespace.
type Secret struct {
	Client    kubernetes.Interface
	Namespace string
	Log       *slog.Logger
	// OnChange, if set, is told the keys whenever they have changed, by the
	// goroutine of Start. Set it before Start.
	OnChange func(Keys)

	keys atomic.Pointer[Keys]
	last map[string][]byte // the data last in force, for a Secret that goes missing
}

// Keys returns those in force now; the zero Keys until they are known.
func (s *Secret) Keys() Keys {
	if k := s.keys.Load(); k != nil {
		return *k
	}
	return Keys{}
}

// NeedLeaderElection is false: every replica signs or verifies.
func (*Secret) NeedLeaderElection() bool { return false }

// Start follows the Secret until ctx ends.
func (s *Secret) Start(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(s.Client, 0, informers.WithNamespace(s.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", SecretName).String()
		}))
	informer := factory.Core().V1().Secrets().Informer()
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { wake() },
		UpdateFunc: func(any, any) { wake() },
		DeleteFunc: func(any) { wake() },
	}); err != nil {
		return fmt.Errorf("follow Secret %s/%s: %w", s.Namespace, SecretName, err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil // ctx ended
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		}
		timer.Reset(s.once(ctx, informer.GetStore()))
	}
}

// lookAgain is how soon a clock that was set is noticed: timers don't follow it.
const lookAgain = time.Hour

// once takes in the Secret as the store has it, writes it if it must be
// written, and says when to look again though nothing happens.
func (s *Secret) once(ctx context.Context, store cache.Store) time.Duration {
	var have *corev1.Secret
	if object, ok, err := store.GetByKey(s.Namespace + "/" + SecretName); err == nil && ok {
		have, _ = object.(*corev1.Secret)
	}
	if have != nil && usable(have.Data) {
		s.use(have.Data)
	}
	now := time.Now()
	data, due := s.advance(have, now)
	if data == nil {
		return min(max(due.Sub(now), time.Second), lookAgain)
	}
	if err := s.write(ctx, have, data); err != nil {
		s.Log.WarnContext(ctx, "the key of the stamps was not written", "secret", s.Namespace+"/"+SecretName, "err", err)
	}
	return retryAfter // unless the write comes back as an event first
}

// write creates or updates the Secret. That somebody else was faster is no
// error: what they wrote comes as an event.
func (s *Secret) write(ctx context.Context, have *corev1.Secret, data map[string][]byte) error {
	secrets := s.Client.CoreV1().Secrets(s.Namespace)
	if have == nil {
		_, err := secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: SecretName, Labels: map[string]string{"app.kubernetes.io/managed-by": "detnet"}},
			Type:       corev1.SecretTypeOpaque, Data: data,
		}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	next := have.DeepCopy()
	next.Data = data
	_, err := secrets.Update(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// use puts the keys in force.
func (s *Secret) use(data map[string][]byte) {
	s.last = data
	next := Keys{Current: data[dataCurrent], Previous: data[dataPrevious]}
	if len(next.Previous) != KeyLength {
		next.Previous = nil
	}
	before := s.Keys()
	if bytes.Equal(before.Current, next.Current) && bytes.Equal(before.Previous, next.Previous) {
		return
	}
	s.keys.Store(&next)
	s.Log.Info("stamps are signed with another key", "key", next.Current.ID())
	if s.OnChange != nil {
		s.OnChange(next)
	}
}

func usable(data map[string][]byte) bool { return len(data[dataCurrent]) == KeyLength }

// advance returns the data that the Secret should have, nil where it is well
// as it is, and when that will change. A Secret that was deleted gets the keys
// it had; one that was emptied gets a new key, and what the old ones signed is
// believed no more.
func (s *Secret) advance(have *corev1.Secret, now time.Time) (data map[string][]byte, due time.Time) {
	if have == nil && s.last != nil {
		return s.last, now
	}
	fresh := map[string][]byte{dataCurrent: newKey(), dataSince: []byte(now.UTC().Format(time.RFC3339))}
	if have == nil || !usable(have.Data) {
		return fresh, now
	}
	since, err := time.Parse(time.RFC3339, string(have.Data[dataSince]))
	if err == nil && now.Before(since.Add(Rotation)) {
		return nil, since.Add(Rotation)
	}
	fresh[dataPrevious] = have.Data[dataCurrent]
	return fresh, now
}

func newKey() Key {
	key := make(Key, KeyLength)
	_, _ = rand.Read(key) // never fails: it ends the program first
	return key
}
