module holdfast.example/verify

go 1.26
