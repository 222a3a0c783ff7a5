package key

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"

	"holdfast.example/internal/id"
)

// input is a signing input of the size of a real access token.
var input = make([]byte, 620)

func BenchmarkSign(b *testing.B) {
	r := open(b, new(memStore), NewRoot(), options(algorithms...))
	for _, alg := range algorithms {
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := r.Signer(alg)
				if err != nil {
					b.Fatal(err)
				}
				_ = s.Header("at+jwt")
				_, err = s.Sign(input)
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	// What ES256 costs without this room.
	b.Run("ES256-floor", func(b *testing.B) {
		k := r.live.Load().signers["ES256"].private.(*ecdsa.PrivateKey)
		b.ReportAllocs()
		for b.Loop() {
			digest := sha256.Sum256(input)
			_, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSigner(b *testing.B) {
	r := open(b, new(memStore), NewRoot(), options("ES256"))
	b.ReportAllocs()
	for b.Loop() {
		s, _ := r.Signer("")
		_ = s.Header("at+jwt")
	}
}

func BenchmarkJoinRS(b *testing.B) {
	r := open(b, new(memStore), NewRoot(), options("ES256"))
	digest := sha256.Sum256(input)
	der, _ := ecdsa.SignASN1(rand.Reader, r.live.Load().signers["ES256"].private.(*ecdsa.PrivateKey), digest[:])
	b.ReportAllocs()
	for b.Loop() {
		_, err := joinRS(der)
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMAC(b *testing.B) {
	r := open(b, new(memStore), NewRoot(), options("Ed25519"))
	for _, size := range []int{51, 73, 700} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			k := r.SealKey()
			b.ReportAllocs()
			for b.Loop() {
				var data [700]byte
				_ = k.MAC(UseSeal, data[:size])
			}
		})
	}
	// The same with a fresh crypto/hmac each time.
	b.Run("73-fresh", func(b *testing.B) {
		sub := make([]byte, 32)
		b.ReportAllocs()
		for b.Loop() {
			var data [73]byte
			h := hmac.New(sha256.New, sub)
			h.Write(data[:])
			h.Sum(nil)
		}
	})
}

func BenchmarkSID(b *testing.B) {
	r := open(b, new(memStore), NewRoot(), options("Ed25519"))
	s := id.NewSession()
	sid := r.SID(s)
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = r.SID(s)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.Session(sid)
		}
	})
}

func BenchmarkOpaque(b *testing.B) {
	r := open(b, new(memStore), NewRoot(), options("Ed25519"))
	plain := make([]byte, 400)
	sealed := r.SealOpaque(plain)
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = r.SealOpaque(plain)
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.OpenOpaque(sealed)
		}
	})
}

// A start with the default keys, and a look at the store that finds nothing new.
func BenchmarkOpen(b *testing.B) {
	m, root := new(memStore), NewRoot()
	r := open(b, m, root, options())
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			open(b, m, root, options())
		}
	})
	b.Run("tick", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			err := r.Tick(b.Context(), t0)
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
