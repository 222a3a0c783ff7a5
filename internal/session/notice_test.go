package session_test

import (
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// TestADeviceIsOneEnd, whatever hangs under it and by whichever act it is signed out.
func TestADeviceIsOneEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		act  func(k *kept, device, child id.Session) error
		want int
	}{
		"everywhere": {func(k *kept, _, _ id.Session) error {
			return k.EndAll(k.Context(), k.owner.ID, fault.Everywhere, id.Session{})
		}, 1},
		"everywhere but here": {func(k *kept, device, _ id.Session) error {
			return k.EndAll(k.Context(), k.owner.ID, fault.SignedOutElsewhere, device)
		}, 0},
		"the device": {func(k *kept, device, _ id.Session) error {
			return k.End(k.Context(), device, fault.SignedOut)
		}, 1},
		"the WebView alone": {func(k *kept, _, child id.Session) error {
			return k.End(k.Context(), child, fault.SignedOut)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := keeping(t)
			device := k.opened(balanced()).Session.ID
			in := k.signsIn("", "", balanced())
			in.Parent = device
			child, err := k.Open(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.act(k, device, child.Session.ID); err != nil {
				t.Fatal(err)
			}
			if tt.want == 1 && name != "the WebView alone" { // its own end comes late
				if err := k.End(t.Context(), child.Session.ID, fault.SignedOut); err != nil {
					t.Fatal(err)
				}
			}
			if n := k.ends(); n != tt.want {
				t.Errorf("%d ends were told of, want %d", n, tt.want)
			}
		})
	}
}
