package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// JoinToken lets one nodelet join. It is created by POST to /apis/swell.dev/v1alpha1/jointokens; only
// that answer shows the token.
type JoinToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   JoinTokenSpec   `json:"spec"`
	Status JoinTokenStatus `json:"status,omitzero"`
}

// JoinTokenSpec is what is asked for.
type JoinTokenSpec struct {
	TTLSeconds int64 `json:"ttlSeconds,omitempty"` // 0: the server's default
}

// JoinTokenStatus is the server's answer.
type JoinTokenStatus struct {
	Token               string      `json:"token,omitempty"`
	ExpirationTimestamp metav1.Time `json:"expirationTimestamp,omitzero"`
	CAHash              string      `json:"caHash,omitempty"` // sha256:… of the CA certificate in DER, by which a joining node knows the server
}
