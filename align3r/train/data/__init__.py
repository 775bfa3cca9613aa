"""What is learned from: frames of data sets, drawn, cropped and put into batches."""
