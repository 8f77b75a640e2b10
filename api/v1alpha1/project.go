package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Project keeps whose a namespace is or was last: what it has used is billed after it is gone. It isn't served.
type Project struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Account string `json:"account"`
}

// DeepCopyObject implements runtime.Object.
func (p *Project) DeepCopyObject() runtime.Object {
	return &Project{TypeMeta: p.TypeMeta, ObjectMeta: *p.ObjectMeta.DeepCopy(), Account: p.Account}
}
