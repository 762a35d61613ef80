package inventory

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// NeedLeaderElection is false: a standby keeps its inventory warm.
func (*Inventory) NeedLeaderElection() bool { return false }

// Synced is closed once the first full lists and the keys are in.
func (inv *Inventory) Synced() <-chan struct{} { return inv.synced }

// Start follows the API server until ctx ends.
func (inv *Inventory) Start(ctx context.Context) error {
	cluster := informers.NewSharedInformerFactoryWithOptions(inv.client, 0, informers.WithTransform(slim))
	all := map[cache.SharedIndexInformer]func(key string, object any){
		cluster.Core().V1().Namespaces().Informer(): inv.setNamespace,
		cluster.Core().V1().Nodes().Informer():      inv.setNode,
		cluster.Core().V1().Pods().Informer():       inv.setPod,
	}
	factories := []informers.SharedInformerFactory{cluster}
	if inv.Webhook != "" {
		one := informers.NewSharedInformerFactoryWithOptions(inv.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", inv.Webhook).String()
		}))
		all[one.Admissionregistration().V1().MutatingWebhookConfigurations().Informer()] = inv.setWebhook
		factories = append(factories, one)
	}
	var synced []cache.InformerSynced
	for informer, set := range all {
		registration, err := informer.AddEventHandler(handler(set))
		if err != nil {
			return fmt.Errorf("follow the API server: %w", err)
		}
		synced = append(synced, registration.HasSynced)
	}
	for _, f := range factories {
		f.Start(ctx.Done())
		defer f.Shutdown()
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil // ctx has ended
	}
	select {
	case <-ctx.Done():
		return nil
	case <-inv.keyed:
	}
	close(inv.synced)
	<-ctx.Done()
	return nil
}

// handler calls set with each object's key and state; nil is a deleted one.
func handler(set func(key string, object any)) cache.ResourceEventHandler {
	put := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			set(key, object)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, object any) { put(object) },
		DeleteFunc: func(object any) {
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
				set(key, nil)
			}
		},
	}
}
