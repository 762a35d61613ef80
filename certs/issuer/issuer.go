// Package issuer issues and rotates the certificate of a program where nothing
// else does, in a Secret that it reads through the API, because a kubelet takes
// up to two minutes to refresh a mount.
//
// SelfManaged needs get, list, watch and update on its one Secret and, where
// Config.Webhooks is set, on the mutatingwebhookconfigurations and
// validatingwebhookconfigurations of that one name. Without a resource name it
// needs create on the Secrets and the Events of its namespace, so that a Secret
// that somebody deletes is made again. Where Config.Publish is set it needs get, list,
// watch and update on the ConfigMap of the Secret's name. Followed needs no more than get, list and
// watch on the Secret.
package issuer

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/detnet/detnet/certs"
)

// Config describes a self-managed certificate.
type Config struct {
	// Secret is made where it is missing, also when somebody deletes it, unless the
	// ConfigMap of Publish goes with it.
	Secret types.NamespacedName
	// DNSNames are the names on the certificate; at least one.
	DNSNames []string
	// Webhooks is the name of the MutatingWebhookConfiguration and of the
	// ValidatingWebhookConfiguration that are to trust the certificate. Either
	// may be missing. Empty: none.
	Webhooks string
	// Publish has the ConfigMap of the Secret's name hold ca.crt, for those who are to trust
	// the certificate and must not come by its key: the kubelet of whoever mounts a part of a
	// Secret may read all of it. It may be missing.
	Publish bool
	// Validity of a certificate, which is replaced in its last third. 0: 90 days.
	Validity time.Duration
	// Spread is how long everyone is given to trust a new certificate before it
	// is used. It must exceed a kubelet's refresh of mounted Secrets, which
	// takes up to two minutes. 0: 10 minutes.
	Spread time.Duration
	// Settle is how long the API server is given to take up the trust in a
	// certificate that replaced the one in use without being announced in its
	// bundle: one of another issuer, or one made because the Secret was emptied; and how
	// long a Secret is missing before it is made again while a certificate is in use.
	// 0: 5 s.
	Settle time.Duration
	// Followed leaves issuing to somebody else who writes tls.crt, tls.key and
	// ca.crt into the Secret, such as cert-manager.
	Followed bool
}

// Secret is a certificate in a Secret, read through the API. It is issued when
// missing and replaced before it expires, unless somebody else does that. Every
// replica may manage the same one; the first write wins and the others follow it.
// The issuer may change while it runs: what the Secret holds is used, whoever
// wrote it, and trusted before it is used.
//
// It is ready once there is a certificate, and the webhook configurations, if
// any, trust it.
type Secret struct {
	certs.Current
	config   Config
	rotation rotation
	client   client.Client
	events   events.EventRecorder

	// Of Reconcile alone, which runs once at a time.
	last  *corev1.Secret    // as it was seen last
	inUse map[string][]byte // the data put to use last
	since time.Time         // when the certificate of last was first seen
	known knowledge         // as of the last round

	gone      bool // the Secret, as of the last round
	goneSince time.Time
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
	if config.Settle == 0 {
		config.Settle = 5 * time.Second
	}
	s := &Secret{
		config: config, rotation: rotation{config.DNSNames, config.Validity, config.Spread},
		events: mgr.GetEventRecorder("detnet-certificates"),
	}

	// A cache of its own, narrowed to the few objects by name: RBAC for the
	// manager's would have to name every Secret of the namespace.
	byName := cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", config.Webhooks)}
	ofSecret := cache.ByObject{
		Namespaces: map[string]cache.Config{config.Secret.Namespace: {}},
		Field:      fields.OneTermEqualSelector("metadata.name", config.Secret.Name),
	}
	objects := map[client.Object]cache.ByObject{&corev1.Secret{}: ofSecret}
	if config.Publish {
		objects[&corev1.ConfigMap{}] = ofSecret
	}
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

	everyReplica, twice := false, true // a process that serves twice, as in tests, has two of a name
	b := builder.ControllerManagedBy(mgr).
		Named("certificate-" + config.Secret.Name).
		WithOptions(controller.Options{
			NeedLeaderElection: &everyReplica,
			SkipNameValidation: &twice,
			RateLimiter:        workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, lookAgain),
		})
	enqueue := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: config.Secret}}
	})
	for object := range objects {
		b = b.WatchesRawSource(source.Kind(apiServer.GetCache(), object, enqueue))
	}
	// One look at the start: a Secret that is missing causes no event.
	b = b.WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(reconcile.Request{NamespacedName: config.Secret})
		return nil
	}))
	if err := b.Complete(s); err != nil {
		return nil, fmt.Errorf("manage certificate %s: %w", config.Secret, err)
	}
	return s, nil
}

// ignoreConflict drops the loser's error in a race of two replicas: what the
// winner wrote comes as an event and starts another round.
func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}
