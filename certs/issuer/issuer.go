// Package issuer issues and rotates the certificate of a program where nothing
// else does, in a Secret that it reads through the API, because a kubelet takes
// up to two minutes to refresh a mount.
//
// SelfManaged needs get, list, watch and update on its one Secret and, where
// Config.Webhooks is set, on the mutatingwebhookconfigurations and
// validatingwebhookconfigurations of that one name; no permission without a
// resource name.
package issuer

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/detnet/detnet/certs"
)

// Config describes a self-managed certificate.
type Config struct {
	// Secret exists, empty at first: with it in the chart, nobody needs the
	// permission to create Secrets, which RBAC can't narrow to one name.
	Secret types.NamespacedName
	// DNSNames are the names on the certificate; at least one.
	DNSNames []string
	// Webhooks is the name of the MutatingWebhookConfiguration and of the
	// ValidatingWebhookConfiguration that are to trust the certificate. Either
	// may be missing. Empty: none.
	Webhooks string
	// Validity of a certificate, which is replaced in its last third. 0: 90 days.
	Validity time.Duration
	// Spread is how long everyone is given to trust a new certificate before it
	// is used. It must exceed a kubelet's refresh of mounted Secrets, which
	// takes up to two minutes. 0: 10 minutes.
	Spread time.Duration
}

// Secret is a certificate in a Secret that detnet manages itself: issued when
// missing, replaced before it expires, read through the API. Every replica may
// manage the same one; the first write wins and the others follow it.
//
// It is ready once there is a certificate, and the webhook configurations, if
// any, trust it.
type Secret struct {
	certs.Current
	config   Config
	rotation rotation
	client   client.Client
}

// SelfManaged issues and rotates the certificate while the manager runs, on
// leaders and standbys alike. Until the first one is there, handshakes fail and
// Ready says so.
func SelfManaged(mgr manager.Manager, config Config) (*Secret, error) {
	if len(config.DNSNames) == 0 {
		return nil, fmt.Errorf("manage certificate %s: no DNS name given", config.Secret)
	}
	if config.Validity == 0 {
		config.Validity = 90 * 24 * time.Hour
	}
	if config.Spread == 0 {
		config.Spread = 10 * time.Minute
	}
	s := &Secret{config: config, rotation: rotation{config.DNSNames, config.Validity, config.Spread}}

	// A cache of its own, narrowed to the few objects by name: RBAC for the
	// manager's would have to name every Secret of the namespace.
	byName := cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", config.Webhooks)}
	objects := map[client.Object]cache.ByObject{&corev1.Secret{}: {
		Namespaces: map[string]cache.Config{config.Secret.Namespace: {}},
		Field:      fields.OneTermEqualSelector("metadata.name", config.Secret.Name),
	}}
	if config.Webhooks != "" {
		objects[&admissionv1.MutatingWebhookConfiguration{}] = byName
		objects[&admissionv1.ValidatingWebhookConfiguration{}] = byName
	}
	apiServer, err := cluster.New(mgr.GetConfig(), func(o *cluster.Options) { o.Cache.ByObject = objects })
	if err != nil {
		return nil, fmt.Errorf("manage certificate %s: %w", config.Secret, err)
	}
	if err := mgr.Add(apiServer); err != nil {
		return nil, fmt.Errorf("manage certificate %s: %w", config.Secret, err)
	}
	s.client = apiServer.GetClient()

	everyReplica := false
	b := builder.ControllerManagedBy(mgr).
		Named("certificate-" + config.Secret.Name).
		WithOptions(controller.Options{NeedLeaderElection: &everyReplica})
	enqueue := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: config.Secret}}
	})
	for object := range objects {
		b = b.WatchesRawSource(source.Kind(apiServer.GetCache(), object, enqueue))
	}
	if err := b.Complete(s); err != nil {
		return nil, fmt.Errorf("manage certificate %s: %w", config.Secret, err)
	}
	return s, nil
}

// Reconcile is called by the manager.
func (s *Secret) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	if err := s.client.Get(ctx, s.config.Secret, &secret); err != nil {
		// No retry: the cache is in memory, and the Secret's creation an event.
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("read the certificate's Secret, which installing the chart creates empty: %w", err))
	}
	// Trust first: a certificate is put to use only below, so never before the
	// API server has been told of it.
	if err := s.inject(ctx, secret.Data[certs.CAFile]); err != nil {
		return reconcile.Result{}, ignoreConflict(err)
	}
	data, due, err := s.rotation.advance(secret.Data, time.Now())
	if err != nil {
		return reconcile.Result{}, err
	}
	if !maps.EqualFunc(data, secret.Data, bytes.Equal) {
		secret.Data = data
		if err := s.client.Update(ctx, &secret); err != nil {
			return reconcile.Result{}, ignoreConflict(fmt.Errorf("write certificate %s: %w", s.config.Secret, err))
		}
		log.FromContext(ctx).Info("rotated the certificate", "due", due)
		return reconcile.Result{}, nil // the write comes back as an event
	}
	if err := s.Set(data[certs.CertFile], data[certs.KeyFile], data[certs.CAFile]); err != nil {
		return reconcile.Result{}, fmt.Errorf("read certificate %s: %w", s.config.Secret, err)
	}
	return reconcile.Result{RequeueAfter: max(time.Until(due), time.Second)}, nil
}

// inject makes the webhook configurations trust the bundle.
func (s *Secret) inject(ctx context.Context, bundle []byte) error {
	if s.config.Webhooks == "" || len(bundle) == 0 {
		return nil
	}
	for _, object := range []client.Object{&admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{}} {
		err := s.client.Get(ctx, types.NamespacedName{Name: s.config.Webhooks}, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %T %s to make it trust the certificate: %w", object, s.config.Webhooks, err)
		}
		if !trust(object, bundle) {
			continue
		}
		if err := s.client.Update(ctx, object); err != nil {
			return fmt.Errorf("make %T %s trust the certificate: %w", object, s.config.Webhooks, err)
		}
	}
	return nil
}

// trust sets the bundle in each webhook and reports whether that changed any.
func trust(object client.Object, bundle []byte) bool {
	var clients []*admissionv1.WebhookClientConfig
	switch configuration := object.(type) {
	case *admissionv1.MutatingWebhookConfiguration:
		for i := range configuration.Webhooks {
			clients = append(clients, &configuration.Webhooks[i].ClientConfig)
		}
	case *admissionv1.ValidatingWebhookConfiguration:
		for i := range configuration.Webhooks {
			clients = append(clients, &configuration.Webhooks[i].ClientConfig)
		}
	}
	changed := false
	for _, c := range clients {
		if !bytes.Equal(c.CABundle, bundle) {
			c.CABundle, changed = bundle, true
		}
	}
	return changed
}

// ignoreConflict drops the loser's error in a race of two replicas: what the
// winner wrote comes as an event and starts another round.
func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}
