module holdfast.example

go 1.26
