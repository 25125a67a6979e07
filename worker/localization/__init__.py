"""Where on the image the tiles look synthetic: the heat map, its regions, and pictures of them."""
