package locate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/detnet/detnet/agent/kube"
)

// Endpoints knows pods' interfaces from their CiliumEndpoints, the objects in
// which Cilium's agents publish what they run. It reads one object per question
// and needs no privilege but to get them.
type Endpoints struct{ client *kube.Client }

// NewEndpoints returns the Endpoints of the client's cluster.
func NewEndpoints(client *kube.Client) *Endpoints { return &Endpoints{client} }

// endpoint is what is read of a CiliumEndpoint, which has its pod's name.
type endpoint struct {
	Metadata struct {
		OwnerReferences []owner `json:"ownerReferences"`
	} `json:"metadata"`
	Status struct {
		Identifiers struct {
			// Attachment is CNI's container ID and interface: "0123…:eth0".
			Attachment string `json:"cni-attachment-id"`
		} `json:"external-identifiers"`
	} `json:"status"`
}

type owner struct {
	UID string `json:"uid"`
}

// Interface returns the name of the host-side interface of a pod. The error is
// [ErrNotFound] where Cilium has not published, or not yet, an endpoint of the
// pod with this UID: there may still be that of an earlier pod of the same name.
func (e *Endpoints) Interface(ctx context.Context, namespace, name, uid string) (string, error) {
	path := "/apis/cilium.io/v2/namespaces/" + url.PathEscape(namespace) + "/ciliumendpoints/" + url.PathEscape(name)
	body, err := e.client.Get(ctx, path, nil)
	var refused *kube.StatusError
	if errors.As(err, &refused) && refused.Code == http.StatusNotFound {
		return "", fmt.Errorf("no CiliumEndpoint of pod %s/%s: %w", namespace, name, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("get the CiliumEndpoint of pod %s/%s: %w", namespace, name, err)
	}
	defer body.Close()
	var ep endpoint
	if err := json.NewDecoder(body).Decode(&ep); err != nil {
		return "", fmt.Errorf("read the CiliumEndpoint of pod %s/%s: %w", namespace, name, err)
	}
	attachment := ep.Status.Identifiers.Attachment
	if !slices.Contains(ep.Metadata.OwnerReferences, owner{uid}) || attachment == "" {
		return "", fmt.Errorf("the CiliumEndpoint of pod %s/%s is an earlier pod's or incomplete: %w", namespace, name, ErrNotFound)
	}
	return hostInterface(attachment), nil
}

// hostInterface is how Cilium's CNI plugin names the host's end: lxc and the
// first twelve hexadecimal digits of a hash of the attachment, together as long
// as Linux allows (pkg/datapath/connector of Cilium 1.19 and 1.20). Were that to
// change, no interface would have the name, and none be mistaken.
func hostInterface(attachment string) string {
	sum := sha256.Sum256([]byte(attachment))
	return "lxc" + hex.EncodeToString(sum[:6])
}
