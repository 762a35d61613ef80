package netpol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/write"
)

// RemoveAll deletes every CiliumNetworkPolicy that detnet made, in one namespace
// or in all ("") for when detnet is taken out, and calls done after each. On a
// cluster without Cilium there is nothing to do.
func RemoveAll(ctx context.Context, client kubernetes.Interface, namespace string, done func(namespace, name string)) error {
	raw, err := client.Discovery().RESTClient().Get().AbsPath("/apis/cilium.io/v2/ciliumnetworkpolicies").Param("labelSelector", managedBy+"="+detnet).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list CiliumNetworkPolicies: %w", err)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("list CiliumNetworkPolicies: %w", err)
	}
	to := write.New(client, nil, nil, slog.New(slog.DiscardHandler)) // what is refused is told to the caller
	var errs []error
	for _, p := range list.Items {
		if namespace != "" && p.Namespace != namespace {
			continue
		}
		c := write.Change{Target: target(p.Namespace, p.Name), Verb: write.Delete}
		c.UID = p.UID
		if err := to.Do(ctx, c); err != nil && !write.Gone(err) {
			errs = append(errs, err)
			continue
		}
		done(p.Namespace, p.Name)
	}
	return errors.Join(errs...)
}
