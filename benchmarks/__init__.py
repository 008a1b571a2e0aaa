"""smbfs beside what people use today: `./dev bench`."""
