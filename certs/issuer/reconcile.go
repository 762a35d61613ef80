package issuer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/detnet/detnet/certs"
)

// forget is how many times Config.Settle a certificate that the Secret does not
// name any more stays trusted: another replica may still be using it.
const forget = 6

// Reconcile is called by the manager.
func (s *Secret) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	secret, now := new(corev1.Secret), time.Now()
	err := s.client.Get(ctx, s.config.Secret, secret)
	if apierrors.IsNotFound(err) {
		return s.missed(ctx, now)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read certificate %s: %w", s.config.Secret, err)
	}
	s.see(secret, now)
	// Trust first: a certificate is put to use where all have been told of it. Who can't be told
	// keeps back no more than that: not the next one's announcement, nor the use of one that
	// everybody trusts already.
	untold := s.tell(ctx, now)
	due := now.Add(s.config.Spread)
	if !s.config.Followed {
		var data map[string][]byte
		if data, due, err = s.rotation.advance(secret.Data, s.known.of(secret.Data[nextCertFile]), now); err != nil {
			return reconcile.Result{}, errors.Join(err, untold)
		}
		if !maps.EqualFunc(data, secret.Data, bytes.Equal) {
			return reconcile.Result{}, errors.Join(s.write(ctx, secret, data, due), untold)
		}
	} else if len(secret.Data[certs.CertFile]) == 0 {
		return reconcile.Result{}, nil // whoever issues it has not done so yet
	}
	known := s.known.of(secret.Data[certs.CertFile])
	if !known.everywhere && !s.ended(now) {
		return reconcile.Result{}, untold
	}
	if settled := known.since.Add(s.config.Settle); now.Before(settled) && s.mustSettle(now) {
		return again(settled.Sub(now), untold)
	}
	if err := s.Set(secret.Data[certs.CertFile], secret.Data[certs.KeyFile], secret.Data[certs.CAFile]); err != nil {
		return reconcile.Result{}, fmt.Errorf("read certificate %s: %w", s.config.Secret, err)
	}
	s.inUse = secret.Data
	if forgotten := s.forgetAt(); now.Before(forgotten) && forgotten.Before(due) {
		due = forgotten
	}
	return again(wait(due, now), untold)
}

// again is when to look again: by the queue's own pauses where something failed.
func again(after time.Duration, failed error) (reconcile.Result, error) {
	if failed != nil {
		return reconcile.Result{}, failed
	}
	return reconcile.Result{RequeueAfter: after}, nil
}

// lookAgain is how soon a clock that was set is noticed: timers don't follow it.
const lookAgain = time.Minute

// wait is until when nothing is done, by clocks that run on.
func wait(due, now time.Time) time.Duration {
	return min(max(due.Sub(now), time.Second), lookAgain)
}

// see keeps what the Secret holds, and since when.
func (s *Secret) see(secret *corev1.Secret, now time.Time) {
	if s.last == nil || !bytes.Equal(s.last.Data[certs.CertFile], secret.Data[certs.CertFile]) {
		s.since = now
	}
	s.last, s.gone = secret, false
}

// forgetAt is when trust that the Secret does not name is dropped, where all know its certificate.
func (s *Secret) forgetAt() time.Time {
	since := s.since
	if known := s.known.of(s.last.Data[certs.CertFile]).since; known.After(since) {
		since = known
	}
	return since.Add(forget * s.config.Settle)
}

// ended reports whether the certificate in use has expired, which nobody takes any more: with the
// next one is waited no longer, not even for those who can't be told of it.
func (s *Secret) ended(now time.Time) bool {
	inUse := parseBundle(s.inUse[certs.CertFile])
	return len(inUse) > 0 && !now.Before(inUse[0].NotAfter)
}

// mustSettle reports whether the API server may not trust the new certificate
// yet: the bundle in use does not vouch for it, so it was not announced.
func (s *Secret) mustSettle(now time.Time) bool {
	if s.config.Webhooks == "" || s.inUse == nil {
		return false // nobody to wait for, or nothing to serve meanwhile
	}
	certificate := s.last.Data[certs.CertFile]
	return len(parseBundle(certificate)) > 0 && !vouches(s.inUse[certs.CAFile], certificate, now)
}

func (s *Secret) write(ctx context.Context, secret *corev1.Secret, data map[string][]byte, due time.Time) error {
	next := secret.DeepCopy()
	next.Data = data
	if err := s.client.Update(ctx, next); err != nil {
		return ignoreConflict(fmt.Errorf("write certificate %s: %w", s.config.Secret, err))
	}
	log.FromContext(ctx).Info("rotated the certificate", "due", due)
	return nil // the write comes back as an event
}

// missed makes the Secret anew, unless the release that has it was taken back: then this
// program is about to end, and what it made would be left. While a certificate is in use
// nobody waits for it.
func (s *Secret) missed(ctx context.Context, now time.Time) (reconcile.Result, error) {
	if s.inUse == nil {
		return reconcile.Result{}, s.create(ctx)
	}
	if !s.gone {
		s.gone, s.goneSince = true, now
	}
	if settled := s.goneSince.Add(s.config.Settle); now.Before(settled) {
		return reconcile.Result{RequeueAfter: settled.Sub(now)}, nil
	}
	if s.config.Publish {
		if err := s.client.Get(ctx, s.config.Secret, new(corev1.ConfigMap)); apierrors.IsNotFound(err) {
			log.FromContext(ctx).Info("the certificate's Secret and ConfigMap are both gone, as after a rollback: they are not made again", "secret", s.config.Secret)
			return reconcile.Result{}, nil
		}
	}
	return reconcile.Result{}, s.create(ctx)
}

// create makes the Secret that is missing. A certificate in use stays in use and
// is replaced in the usual steps, so that deleting the Secret breaks nothing.
func (s *Secret) create(ctx context.Context) error {
	if s.config.Followed {
		return nil // it is somebody else's; what was read stays in use
	}
	data, err := s.rotation.renew(s.inUse, time.Now())
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.config.Secret.Namespace, Name: s.config.Secret.Name}, Data: data}
	if s.last != nil { // whose it was, as Helm for one has it
		secret.Labels, secret.Annotations = s.last.Labels, s.last.Annotations
	}
	err = s.client.Create(ctx, secret)
	if apierrors.IsAlreadyExists(err) {
		return nil // another replica was faster, which comes as an event
	}
	if err != nil {
		return fmt.Errorf("make the Secret %s of the certificate, which is missing: %w", s.config.Secret, err)
	}
	log.FromContext(ctx).Info("made the certificate's Secret, which was missing", "secret", s.config.Secret)
	s.events.Eventf(secret, nil, corev1.EventTypeWarning, "SecretMissing", "MakeAgain",
		"The Secret was missing and was made again. A certificate in use stays in use until its replacement has spread, in %v.", s.config.Spread)
	return nil
}
