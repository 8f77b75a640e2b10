package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// Store keeps the objects.
type Store interface {
	Get(controlplane.Key) (controlplane.Object, bool)
	// List answers what there is, sorted by namespace and name, and the version that this is the state of.
	List(resource, namespace string) (objects []controlplane.Object, version uint64)
	// Items is List for many.
	Items(resource, namespace string) (items controlplane.Items, version uint64)
	// Commit is durable when it returns. For a deletion it answers the last state.
	Commit(context.Context, controlplane.Mutation) (controlplane.Object, error)
	// Observe changes an object in memory only.
	Observe(key controlplane.Key, change func(current controlplane.Object) controlplane.Object) (controlplane.Object, error)
	// Watch answers the events with a version above after.
	Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error)
	Version() uint64
}

// Scheduler is the ledger that places pods and admits resizes.
type Scheduler interface {
	// Place answers the node, and the slot that becomes the pod's.
	Place(context.Context, controlplane.PlaceRequest) (controlplane.Placement, error)
	Pend(controlplane.PlaceRequest)
	Release(uid string)
	Resize(ctx context.Context, uid string, q controlplane.ResizeRequest) (controlplane.ResizeAnswer, error)
	// Revert takes the last Resize back, of which nothing was stored.
	Revert(uid string)
	// Stored tells that the last Resize, which wasn't admitted, was stored.
	Stored(uid string)
}

// Admission defaults and validates pods.
type Admission struct {
	Default  func(*corev1.Pod)
	Validate func(*corev1.Pod) field.ErrorList
	// ValidateMeta checks all of the metadata and nothing of the spec: it is asked for a pod whose spec came
	// before, byte for byte, and was found valid. Nil: every spec is validated anew.
	ValidateMeta   func(*corev1.Pod) field.ErrorList
	ValidateUpdate func(next, old *corev1.Pod) field.ErrorList
	ValidateResize func(next, old *corev1.Pod) field.ErrorList
	DefaultResize  func(next, old *corev1.Pod)

	// Of limit ranges. Nil: these are not served. LimitPod comes before Default, and CheckLimits once a pod has its size.
	DefaultLimitRange  func(*corev1.LimitRange)
	ValidateLimitRange func(*corev1.LimitRange) field.ErrorList
	LimitPod           func(*corev1.Pod, []*corev1.LimitRange) (note string)
	CheckLimits        func(*corev1.Pod, []*corev1.LimitRange) error

	// Of resource quotas. Counted are the resources whose objects are.
	ValidateResourceQuota       func(q *corev1.ResourceQuota, counted []string) field.ErrorList
	ValidateResourceQuotaUpdate func(next, old *corev1.ResourceQuota, counted []string) field.ErrorList

	// Of slot policies. Nil: these are not served.
	DefaultSlotPolicy  func(*v1alpha1.SlotPolicy)
	ValidateSlotPolicy func(*v1alpha1.SlotPolicy) field.ErrorList

	// ValidateStartupBoost is of policies of that kind. Nil: these are not served.
	ValidateStartupBoost func(*v1alpha1.StartupBoost) field.ErrorList

	// Of autosize policies. Nil: these are not served.
	DefaultAutosize  func(*v1alpha1.Autosize)
	ValidateAutosize func(*v1alpha1.Autosize) field.ErrorList

	// Of budgets of projects and of accounts.
	DefaultBudget  func(*v1alpha1.BudgetSpec)
	ValidateBudget func(*v1alpha1.BudgetSpec) field.ErrorList
}

// Streams serve what is not one answer. They get an existing pod and write the whole response.
type Streams struct {
	Log, Exec, PortForward func(http.ResponseWriter, *http.Request, *corev1.Pod)
}

// Slots keeps slots ready ahead of pods. Both calls are quick.
type Slots interface {
	// Created tells of a pod that was stored, and where it was placed (the zero Placement: nowhere yet).
	Created(pod *corev1.Pod, of controlplane.Workload, at controlplane.Placement)
	// Spoilt tells of a slot that was taken by a pod that couldn't be stored. Its room is given back.
	Spoilt(uid string)
}

// Quota counts what is in namespaces that have quotas, and refuses what is beyond them. All calls are quick.
type Quota interface {
	// Charge counts an object that is about to be stored, in place of the one of its name if there is one. Settle has
	// to be called once, with what was stored, or nil if nothing was.
	Charge(key controlplane.Key, next controlplane.Object) (settle func(stored controlplane.Object), err error)
	// Removed tells of an object that is gone, by its last state.
	Removed(key controlplane.Key, last controlplane.Object)
	// Reload is called when a quota of the namespace has changed. It holds when that returns.
	Reload(namespace string)
}

// Config joins the server to the rest of the control plane.
type Config struct {
	Store     Store
	Scheduler Scheduler
	Admission Admission
	Streams   Streams
	Slots     Slots   // nil: none are kept
	Quota     Quota   // nil: resource quotas are not served
	Budgets   Budgets // nil: budgets are not served
	Sales     Sales   // without Complete and Validate savings plans are not served

	// MayMove answers why a namespace, new or not, may not be the account's that its label names. Nil: all may.
	MayMove func(ctx context.Context, namespace, account string) error

	// Recommendations answers those of a namespace (empty: all), or the one of a name. Nil: they are not served.
	Recommendations func(namespace, name string) []v1alpha1.Recommendation
	// InitialSize gives a new pod, which is valid, the sizes that a policy asks for, and reports whether it changed
	// any. Containers may be shared with other pods: the pod is given its own. It is quick. Nil: nobody does.
	InitialSize func(*corev1.Pod) bool

	// Bills answers the bills of a namespace (empty: all), or those of one name.
	Bills func(ctx context.Context, namespace, name string) ([]v1alpha1.Bill, error)
	// Price answers what a pod costs for an hour at list at its admitted size, and the size that it is billed for; empty
	// where that isn't known. It is quick. Nil: pods have no price.
	Price func(*corev1.Pod) (perHour, billed string)
	// Billing serves billing's endpoints: reports, exports, checks. An error is the answer or, where that has begun,
	// cuts it off. Nil: they are not served.
	Billing func(http.ResponseWriter, *http.Request, BillingRequest) error
	// Usage answers the latest reading of every running pod.
	Usage func() []*nodev1.PodUsage
	// ImportImage sends an archive to a node and answers the names it held.
	ImportImage func(ctx context.Context, node string, archive io.Reader) ([]string, error)
	// ListImages answers a node's images as JSON.
	ListImages func(ctx context.Context, node string) ([]byte, error)
	// IssueJoinToken makes a token that lets one nodelet join. Nil: join tokens are not served.
	IssueJoinToken func(context.Context, v1alpha1.JoinTokenSpec) (v1alpha1.JoinTokenStatus, error)

	// Metrics serves /metrics. Nil: there are none.
	Metrics http.Handler

	Authenticate func(*http.Request) (controlplane.User, error)
	Authorize    func(controlplane.User, controlplane.Attributes) (allowed bool, reason string)

	// Ready answers why the server can't serve now. Nil: always ready.
	Ready func() error
	// Version is Swell's, shown after Kubernetes' in /version.
	Version string
	Log     *slog.Logger
}

func (c *Config) validate() error {
	var missing []error
	need := func(present bool, name string) {
		if !present {
			missing = append(missing, fmt.Errorf("%s is required", name))
		}
	}
	need(c.Store != nil, "Store")
	need(c.Scheduler != nil, "Scheduler")
	need(c.Admission.Default != nil && c.Admission.Validate != nil && c.Admission.ValidateUpdate != nil && c.Admission.ValidateResize != nil && c.Admission.DefaultResize != nil, "Admission")
	need(c.Quota == nil || c.Admission.ValidateResourceQuota != nil && c.Admission.ValidateResourceQuotaUpdate != nil, "Admission of resource quotas")
	need(c.Budgets == nil || c.Admission.DefaultBudget != nil && c.Admission.ValidateBudget != nil, "Admission of budgets")
	need(c.Streams.Log != nil && c.Streams.Exec != nil && c.Streams.PortForward != nil, "Streams")
	need(c.Bills != nil, "Bills")
	need(c.Usage != nil, "Usage")
	need(c.ImportImage != nil && c.ListImages != nil, "ImportImage and ListImages")
	need(c.Authenticate != nil && c.Authorize != nil, "Authenticate and Authorize")
	if len(missing) > 0 {
		return fmt.Errorf("apiserver configuration: %w", errors.Join(missing...))
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Version == "" {
		c.Version = "devel"
	}
	return nil
}
