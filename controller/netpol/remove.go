package netpol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// RemoveAll deletes every CiliumNetworkPolicy that detnet made, in one namespace
// or in all ("") for when detnet is taken out, and calls done after each. On a
// cluster without Cilium there is nothing to do.
func RemoveAll(ctx context.Context, client kubernetes.Interface, namespace string, done func(namespace, name string)) error {
	const kind = "/apis/cilium.io/v2/"
	rest := client.Discovery().RESTClient()
	raw, err := rest.Get().AbsPath(kind+"ciliumnetworkpolicies").Param("labelSelector", managedBy+"="+detnet).Do(ctx).Raw()
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
	var errs []error
	for _, p := range list.Items {
		if namespace != "" && p.Namespace != namespace {
			continue
		}
		err := rest.Delete().AbsPath(kind + "namespaces/" + p.Namespace + "/ciliumnetworkpolicies/" + p.Name).Do(ctx).Error()
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete CiliumNetworkPolicy %s/%s: %w", p.Namespace, p.Name, err))
			continue
		}
		done(p.Namespace, p.Name)
	}
	return errors.Join(errs...)
}
